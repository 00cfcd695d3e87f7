// Where the page is: `?q=` or `?like=`, with `&show=` for an open picture. Whatever can be linked
// to is in the address, so links and "back" work. A dropped picture cannot: it is kept here, under
// a number in its history entry, until the page is left.

const uploads = new Map();

export function here() {
  const query = new URLSearchParams(location.search);
  const [q, like, show] = ["q", "like", "show"].map((name) => query.get(name)?.trim() ?? "");
  const upload = uploads.has(history.state?.upload) ? history.state.upload : null;
  return { q, like, show, upload, file: uploads.get(upload) };
}

export const results = ({ q, like, upload }) => JSON.stringify([q, like, upload]);

export function link({ q, like, show }) {
  const query = new URLSearchParams(Object.entries({ q, like, show }).filter(([, value]) => value));
  return query.size ? `/?${query}` : "/";
}

// `opened`: an entry of ours lies below this one, so closing the picture may go back to it.
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
  go({ upload });
}
