// The state of the page, kept in its address: `?q=` or `?like=`, filters, `&collection=`, and `&show=`
// for an open picture, so that links and "back" work. An uploaded picture does not fit in an address: it is kept
// here until the page is left, under a number stored in its history entry.

const uploads = new Map();

const TEXTS = ["words", "uri_prefix"];
const NUMBERS = ["min_width", "min_height"];

export const FILTERS = [...TEXTS, ...NUMBERS];

export function placeIn(search) {
  const query = new URLSearchParams(search);
  const value = (name) => query.get(name)?.trim() ?? "";
  const id = (name) => query.get(name) ?? ""; // may begin or end with a space
  const texts = TEXTS.map((name) => [name, value(name)]).filter(([, text]) => text);
  const numbers = NUMBERS.map((name) => [name, Number(value(name))]).filter(([, pixels]) => pixels > 0);
  const filter = Object.fromEntries([...texts, ...numbers]);
  return { q: value("q"), like: id("like"), show: id("show"), filter, collection: id("collection") };
}

export function here() {
  const upload = uploads.has(history.state?.upload) ? history.state.upload : null;
  return { ...placeIn(location.search), upload, file: uploads.get(upload) };
}

export const results = ({ q, like, upload, filter, collection }) =>
  JSON.stringify([q, like, upload, filter, collection]);

export function link({ q, like, show, filter, collection }) {
  const parts = Object.entries({ q, like, ...filter, collection, show }).filter(([, value]) => value);
  return parts.length ? `./?${new URLSearchParams(parts)}` : "./"; // below any path prefix
}

// `opened`: the previous history entry is ours, so closing the picture may go back to it.
export function go(place) {
  history.pushState({ upload: place.upload, opened: Boolean(place.show) }, "", link(place));
}

export function closeShown() {
  if (history.state?.opened) return history.back();
  return history.replaceState(history.state, "", link({ ...here(), show: "" }));
}

export function goUpload(file) {
  const upload = Date.now();
  uploads.set(upload, file);
  const { filter, collection } = here();
  go({ upload, filter, collection });
}
