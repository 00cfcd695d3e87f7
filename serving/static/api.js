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

// A proxy may show the service below a path it does not know; the page knows where it is itself.
const here = (image) => ({ ...image, thumbnail: `thumbnails/${image.sha256}` });
const allHere = (answer) => ({ ...answer, hits: answer.hits.map(here) });

const within = (collection) => (collection ? `?${new URLSearchParams({ collection })}` : "");

export const release = (collection) => asked(`v1/release${within(collection)}`);

export const collections = () => asked("v1/collections");

export const record = (id, collection) =>
  asked(`v1/images/${encodeURIComponent(id)}${within(collection)}`).then(here);

export function search({ q, like, file, filter = {}, collection }, k, signal) {
  const narrow = Object.keys(filter).length ? filter : undefined;
  if (file) {
    const form = new FormData();
    form.append("file", file);
    form.append("k", k);
    if (narrow) form.append("filter", JSON.stringify(narrow));
    if (collection) form.append("collection", collection);
    return asked("v1/search/image", { method: "POST", body: form, signal }).then(allHere);
  }
  const body = JSON.stringify({ ...(like ? { image_id: like } : { text: q }), k, filter: narrow, collection: collection || undefined });
  const headers = { "Content-Type": "application/json" };
  return asked("v1/search", { method: "POST", body, headers, signal }).then(allHere);
}
