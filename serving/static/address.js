// The state of the page, kept in its address: `?q=` or `?like=`, `&term=` for each chip, filters (those on
// declared columns as one JSON object, as in the API),
// `&collection=`, `&compare=` for a second release, and `&show=` for an open picture, so that links and the browser's "back"
// work. An uploaded picture does not fit in an address: it is kept here until the page is left, under a number
// stored in its history entry.

const uploads = new Map();

const TEXTS = ["words", "uri_prefix"];
const NUMBERS = ["min_width", "min_height"];
const OPTIONS = ["min_score", "fold"];

export const FILTERS = [...TEXTS, ...NUMBERS];

export function placeIn(search) {
  const query = new URLSearchParams(search);
  const value = (name) => query.get(name)?.trim() ?? "";
  const id = (name) => query.get(name) ?? ""; // may begin or end with a space
  const texts = TEXTS.map((name) => [name, value(name)]).filter(([, text]) => text);
  const numbers = NUMBERS.map((name) => [name, Number(value(name))]).filter(([, pixels]) => pixels > 0);
  return {
    q: value("q"), like: id("like"), show: id("show"), collection: id("collection"),
    terms: query.getAll("term").map(parsed).filter(Boolean),
    filter: Object.fromEntries([...texts, ...numbers, ...conditions(value("columns"))]),
    min_score: value("min_score"), fold: value("fold"), compare: value("compare"),
  };
}

function conditions(text) {
  try {
    const found = JSON.parse(text || "{}");
    return found && typeof found === "object" && Object.keys(found).length ? [["columns", found]] : [];
  } catch {
    return [];
  }
}

// A chip as text: `0.5 sunset`, or `-1 @travel/cloud.jpg` for a stored picture.
export const written = ({ weight, text, image_id }) => `${weight} ${image_id ? `@${image_id}` : text}`;

function parsed(text) {
  const [, number, rest] = /^(-?[\d.]+) ([\s\S]+)$/.exec(text) ?? [];
  const weight = Number(number);
  if (!rest || !weight || Math.abs(weight) > 10) return null;
  return rest.startsWith("@") ? { weight, image_id: rest.slice(1) } : { weight, text: rest };
}

export function here() {
  const upload = uploads.has(history.state?.upload) ? history.state.upload : null;
  return { ...placeIn(location.search), upload, file: uploads.get(upload) };
}

export const asks = ({ q, like, file, terms }) => Boolean(q || like || file || terms.length);

export const results = ({ q, like, upload, terms, filter, min_score, fold, collection, compare }) =>
  JSON.stringify([q, like, upload, terms, filter, min_score, fold, collection, compare]);

export function link(place) {
  const { q, like, show, filter, collection, compare, terms = [] } = place;
  const options = OPTIONS.map((name) => [name, place[name]]);
  const chips = terms.map((term) => ["term", written(term)]);
  const parts = [["q", q], ["like", like], ...chips, ...filtered(filter ?? {}), ...options,
    ["collection", collection], ["compare", compare], ["show", show]].filter(([, value]) => value);
  return parts.length ? `./?${new URLSearchParams(parts)}` : "./"; // below any path prefix
}

const filtered = (filter) =>
  Object.entries(filter).map(([name, value]) => [name, name === "columns" ? JSON.stringify(value) : value]);

// `opened`: the previous history entry is ours, so closing the picture may go back to it.
export function go(place) {
  history.pushState({ upload: place.upload, opened: Boolean(place.show) }, "", link(place));
}

// Another picture in the same dialog: one step back still closes it.
export function turnTo(place) {
  history.replaceState(history.state, "", link(place));
}

export function closeShown() {
  if (history.state?.opened) return history.back();
  return history.replaceState(history.state, "", link({ ...here(), show: "" }));
}

export function goUpload(file) {
  const upload = Date.now();
  uploads.set(upload, file);
  const { filter, collection, compare } = here();
  go({ upload, filter, collection, compare });
}
