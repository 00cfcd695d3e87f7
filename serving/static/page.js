// The page: renders what the address says, and changes the address on every search.

import { FILTERS, closeShown, go, goUpload, here, link, placeIn, results } from "./address.js";
import { collections, record, release, search } from "./api.js";
import { fill } from "./detail.js";
import { count, make, title } from "./elements.js";
import { pictures, shelf, skeletons } from "./grid.js";
import { onPicture, shrunk } from "./uploads.js";

const FIRST = 24;
const MOST = 100;
const at = Object.fromEntries([...document.querySelectorAll("[id]")].map((e) => [e.id, e]));
let shown = { of: null, hits: [] };
let asking = new AbortController();

async function show() {
  const place = here();
  if (!place.show) shut();
  if (results(place) !== shown.of) await begin(place);
  if (isHere(place)) await showDetail(place);
}

function isHere(place) {
  const now = here();
  return results(now) === results(place) && now.show === place.show;
}

async function begin(place) {
  const asks = Boolean(place.q || place.like || place.file);
  asking.abort();
  shown = { of: results(place), hits: [] };
  document.body.classList.toggle("start", !asks);
  document.title = place.q ? `${place.q} – image search` : "Image search";
  at.q.value = place.q;
  for (const name of FILTERS) at[name].value = place.filter[name] ?? "";
  if (Object.keys(place.filter).length) at.filter.open = true;
  at.grid.replaceChildren();
  at.source.hidden = at.more.hidden = true;
  say("");
  scrollTo(0, 0);
  if (asks) {
    skeletons(at.grid);
    showSource(place);
    await ask(place, FIRST);
  } else if (matchMedia("(pointer: fine)").matches) at.q.focus(); // on touch a keyboard would open
}

async function ask(place, k) {
  asking = new AbortController();
  const { signal } = asking;
  say("Searching…");
  try {
    const answer = await search(place, k, signal);
    shown.hits = answer.hits;
    showAnswer(place, k, answer);
  } catch (error) {
    if (!signal.aborted) failed(error, () => signal.aborted || ask(place, k));
  }
}

function showAnswer(place, k, { query, hits, took_ms, warning, complete }) {
  pictures(at.grid, hits, (hit) => link({ ...place, show: hit.image_id }));
  warn(warning);
  const took = Math.max(1, Math.round(took_ms.encode + took_ms.search));
  const limit = complete ? "" : ". Search stopped at its limit; more images may match";
  const rest = query.read ? `${limit}. Too long for the model, which read only “${query.read}”` : limit;
  if (hits.length) say(`${count(hits.length, "picture")}, most similar first, in ${took} ms${rest}`);
  else say(`No pictures found${rest}.`, "empty");
  at.more.hidden = hits.length < k || k >= MOST;
  at.more.onclick = () => ask(place, Math.min(MOST, 2 * k));
}

function failed(error, again) {
  const message = error.status ? error.message : "Cannot reach the service.";
  if (error.again) setTimeout(again, error.again * 1000 * (1 + Math.random())); // spread retries
  else at.grid.replaceChildren();
  say(error.again ? `${message} Trying again…` : message, error.again ? "" : "error");
}

async function showSource({ like, file, collection }) {
  const of = shown.of;
  const image = file ? { caption: file.name, thumbnail: URL.createObjectURL(file) }
    : like && await record(like, collection).catch(() => null);
  if (!image || shown.of !== of) return;
  at.source.replaceChildren(make("img", { src: image.thumbnail, alt: "" }), make("span", {}, `Similar to “${title(image)}”`));
  at.source.hidden = false;
}

async function showDetail(place) {
  if (!place.show) return;
  const hit = shown.hits.find(({ image_id }) => image_id === place.show);
  try {
    const image = hit ?? await record(place.show, place.collection);
    if (!isHere(place)) return;
    fill(at.detail, image, hit?.score, place);
    at.detail.returnValue = "";
    if (!at.detail.open) at.detail.showModal();
  } catch (error) {
    say(error.message, "error");
  }
}

// Closes the dialog because the address changed, not because the user closed it; see the listener below.
function shut() {
  at.detail.close("address");
}

async function showRelease() {
  const { collection } = here();
  const live = await release(collection).catch((error) => error.status !== 404 && null);
  if (!live) return live === null && setTimeout(showRelease, 2000);
  showCollections(collection);
  const day = new Date(live.published_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  at.release.textContent = `${live.collection} · ${count(live.rows, "image")} · ${live.model} · published ${day}`;
  warn(live.warning);
  for (const example of at.examples.querySelectorAll("a")) {
    const place = { q: example.textContent, collection };
    example.href = link(place);
    await showShelf(place);
  }
}

async function showCollections(chosen) {
  const [followed, ...others] = (await collections().catch(() => [])).filter((one) => one.searchable);
  if (!others.length) return;
  const option = ({ collection }, value) => make("option", { value }, collection);
  at.collection.replaceChildren(option(followed, ""), ...others.map((one) => option(one, one.collection)));
  at.collection.value = chosen;
  at.collection.parentElement.hidden = false;
}

async function showShelf(place) {
  const answer = await search(place, 12).catch(() => ({ hits: [] }));
  const linkOf = ({ image_id }) => link({ ...place, show: image_id });
  if (answer.hits.length) at.shelves.append(shelf(place.q, link(place), answer.hits, linkOf));
}

function say(text, kind = "") {
  at.status.textContent = text;
  at.status.dataset.kind = kind;
}

function warn(text) {
  at.warning.hidden = !text;
  at.warning.textContent = text ?? "";
}

async function take(picture) {
  const file = await shrunk(picture);
  if (file.size > Number(document.body.dataset.uploadBytes)) return say(`${file.name} is too large to search with.`, "error");
  goUpload(file);
  return show();
}

document.addEventListener("click", (event) => {
  const anchor = event.target.closest("a");
  if (!anchor || anchor.origin !== location.origin || anchor.pathname !== location.pathname) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const stays = at.grid.contains(anchor); // a hit of an upload opens over the upload's results
  const { collection } = here();
  go({ ...placeIn(anchor.search), collection, upload: stays ? here().upload : null });
  show();
});
at.form.addEventListener("submit", (event) => {
  event.preventDefault();
  const q = at.q.value.trim();
  const asked = q ? { q } : { like: here().like, upload: here().upload };
  go({ ...placeIn(new URLSearchParams(new FormData(at.form))), ...asked });
  show();
});
at.detail.addEventListener("close", () => {
  if (at.detail.open) return; // "forward" opened it again before this event of its closing came
  if (at.detail.returnValue !== "address" && here().show) closeShown();
});
at.detail.addEventListener("click", ({ target }) => target === at.detail && at.detail.close());
onPicture(at.file, take);
at.collection.addEventListener("change", () => {
  location.assign(link({ ...here(), collection: at.collection.value, like: "", show: "" }));
});
addEventListener("popstate", show);
show();
showRelease();
