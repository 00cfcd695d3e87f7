// The API calls that the page makes.

export class Refused extends Error {
  constructor(response, body) {
    super(body?.detail ?? `The service responded with status ${response.status}.`);
    this.status = response.status;
    this.again = response.status === 503 ? Number(response.headers.get("Retry-After")) || 2 : 0;
  }
}

async function asked(path, options) {
  const response = await fetch(path, options);
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response, body);
  return body;
}

function posted(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  return asked(path, { method: "POST", body: JSON.stringify(body), headers, signal });
}

const of = (id) => `v1/images/${encodeURIComponent(id)}`;

// A proxy may serve the page below a path that the service does not know; the page's own address has it.
function here(image, collection, release) {
  const original = image.original && `${of(image.image_id)}/original${within(collection, release)}`;
  return { ...image, original, thumbnail: `thumbnails/${image.sha256}` };
}
const allHere = (answer, release) => ({
  ...answer, hits: answer.hits.map((hit) => here(hit, answer.collection, release)),
});

function within(collection, release) {
  const given = Object.entries({ collection, release }).filter(([, value]) => value);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

export const release = (collection) => asked(`v1/release${within(collection)}`);

export const releases = (collection) => asked(`v1/releases${within(collection)}`);

export const collections = () => asked("v1/collections");

export const record = (id, collection) => asked(`${of(id)}${within(collection)}`).then((image) => here(image, collection));

export const lineage = (id, collection, release) => asked(`${of(id)}/lineage${within(collection, release)}`);

export const columns = (collection) => asked(`v1/columns${within(collection)}`);

export const session = () => asked("v1/session");

export function judgements({ query_terms, ...query }, collection) {
  const of = query_terms ? { query_terms: JSON.stringify(query_terms) } : query;
  return asked(`v1/judgements?${new URLSearchParams(collection ? { ...of, collection } : of)}`);
}

export const judge = (said) => posted("v1/judgements", said);

export const logIn = (key) => posted("v1/session", { key });

// The first page of hits includes the query's vector.
export async function search(place, page, signal) {
  const query = { ...await asking(place, signal), ...wanted(place, page), ...page };
  if (!place.compare) return posted("v1/search", query, signal).then((answer) => allHere(answer));
  const both = await (place.file ? comparedUpload(query, place, signal) : compared(query, place, signal));
  const [answer, other] = both.answers;
  return { ...allHere(answer), cursor: null, overlap: both.overlap, other: allHere(other, other.release.id) };
}

async function compared(query, place, signal) {
  const live = await release(place.collection);
  return posted("v1/compare", { query, releases: [live.id, Number(place.compare)] }, signal);
}

// Each release is searched with the vector that its own model makes of the picture.
async function comparedUpload(query, place, signal) {
  const other = { ...query, ...await asking(place, signal, place.compare), release: Number(place.compare) };
  const answers = await Promise.all([query, other].map((one) => posted("v1/search", one, signal)));
  const [ours, theirs] = answers.map(({ hits }) => new Set(hits.map(({ image_id }) => image_id)));
  const most = Math.max(ours.size, theirs.size);
  return { answers, overlap: most ? [...ours].filter((id) => theirs.has(id)).length / most : null };
}

// The query; in the API's short form if there is only one term.
async function asking({ q, like, file, collection, terms = [] }, signal, of) {
  if (!terms.length && !file) return like ? { image_id: like } : { text: q };
  const first = file ? { vector: await embedded(file, signal, collection, of) } : like ? { image_id: like } : { text: q };
  return { terms: file || like || q ? [first, ...terms] : terms };
}

function wanted({ filter = {}, min_score, fold, collection }, { cursor }) {
  return {
    include: ["lineage", "original", ...(cursor ? [] : ["query_vector"])],
    filter: Object.keys(filter).length ? filter : undefined,
    min_score: min_score ? Number(min_score) : undefined,
    ...folded(fold),
    collection: collection || undefined,
  };
}

export const NEAR = 0.97; // from this cosine similarity on, pictures are near-duplicates, as in the asset `report`

function folded(fold) {
  if (fold === "near") return { collapse_similar: NEAR };
  return fold ? { collapse_duplicates: true } : {};
}

const vectors = new WeakMap(); // of uploaded pictures by release, so that each is sent only once

async function embedded(file, signal, collection, of = "") {
  const known = vectors.get(file) ?? {};
  vectors.set(file, known);
  if (!known[of]) {
    const form = new FormData();
    form.append("file", file);
    if (of) form.append("release", of);
    if (of && collection) form.append("collection", collection);
    const answer = await asked("v1/embed/image", { method: "POST", body: form, signal });
    [known[of]] = answer.vectors;
  }
  return known[of];
}
