// The page: renders the state in its address, and changes the address on every search.

import { showAbout } from "./about.js";
import { FILTERS, asks, closeShown, go, goUpload, here, link, placeIn, results, turnTo } from "./address.js";
import { columns, logIn, record, search } from "./api.js";
import { showChips } from "./chips.js";
import { showColumns } from "./columns.js";
import { fill } from "./detail.js";
import { count, make, title } from "./elements.js";
import { append, focusOn, shelf, skeletons, uncheck } from "./grid.js";
import { begin as beginJudging, buttons } from "./judging.js";
import { onKeys } from "./keys.js";
import { chosenCount, forget, save } from "./selection.js";
import { onPicture, shrunk } from "./uploads.js";

const FIRST = 24;
const FURTHER = 48;
const at = Object.fromEntries([...document.querySelectorAll("[id]")].map((e) => [e.id, e]));
let shown = { of: null, hits: [], cursor: null, depth: 0, answer: null };
let asking = new AbortController();
let opened = -1; // the picture in the dialog, by its number among the hits
let declared = []; // columns of the collection

// Near the end of the page, the next hits load automatically.
const nearEnd = new IntersectionObserver((seen) => {
  if (seen.at(-1).isIntersecting && !at.more.hidden && !at.more.disabled) at.more.click();
}, { rootMargin: "600px" });

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
  asking.abort();
  shown = { of: results(place), hits: [], cursor: null, depth: 0, answer: null };
  forget();
  opened = -1;
  showForm(place);
  at.grid.replaceChildren();
  at.other.hidden = at.source.hidden = at.more.hidden = at.tools.hidden = true;
  document.body.classList.toggle("comparing", Boolean(place.compare));
  say("");
  scrollTo(0, 0);
  if (asks(place)) {
    skeletons(at.grid);
    showSource(place);
    await ask(place);
  } else if (matchMedia("(pointer: fine)").matches) at.q.focus(); // on touch a keyboard would open
}

function showForm(place) {
  document.body.classList.toggle("start", !asks(place));
  document.title = place.q ? `${place.q} – image search` : "Image search";
  at.q.value = place.q;
  for (const name of FILTERS) at[name].value = place.filter[name] ?? "";
  at.min_score.value = place.min_score;
  at.fold.value = place.fold;
  showFilter(place);
  showChips(at.chips, place.terms, (terms) => visit({ ...here(), terms, show: "" }));
  at.refine.hidden = !asks(place);
}

function showFilter({ filter, min_score, fold }) {
  const { columns: conditions = {}, ...others } = filter;
  const active = Object.keys(others).length + Object.keys(conditions).length + Boolean(min_score) + Boolean(fold);
  at.filters.textContent = active ? ` · ${active}` : "";
  if (active && !matchMedia("(max-width: 900px)").matches) at.filter.open = true; // or it hides the pictures
  at.columns.value = JSON.stringify(conditions);
  showColumns(at.declared, declared, conditions, (now) => {
    at.columns.value = JSON.stringify(now);
    if (asks(here())) at.form.requestSubmit();
  });
  at.declared.hidden = !declared.length;
}

function visit(place) {
  go(place);
  return show();
}

// Shows the first page of hits or, with a cursor, the next one.
async function ask(place) {
  const { cursor } = shown;
  asking = new AbortController();
  const { signal } = asking;
  at.more.disabled = true;
  if (!cursor) say("Searching…");
  try {
    const asked = search(place, { k: cursor ? FURTHER : FIRST, cursor: cursor ?? undefined }, signal);
    const [answer] = await Promise.all([asked, cursor ? null : beginJudging(place)]);
    if (!cursor) at.grid.replaceChildren();
    shown.hits = [...shown.hits, ...answer.hits];
    shown.cursor = answer.cursor;
    shown.depth = answer.depth;
    shown.answer ??= answer;
    showAnswer(place, answer);
  } catch (error) {
    if (!signal.aborted) failed(error, () => signal.aborted || ask(place));
  } finally {
    at.more.disabled = false;
  }
}

function showAnswer(place, { query, hits, timings_ms, warning, complete, other, overlap }) {
  const linkOf = (hit) => link({ ...place, show: hit.image_id });
  const judging = (hit) => buttons(hit, place, (error) => say(error.message, "error"));
  append(at.grid, hits, linkOf, showTools, other ? onlyIn(other.hits) : judging);
  at.other.hidden = !other;
  if (other) {
    at["other-grid"].replaceChildren();
    append(at["other-grid"], other.hits, linkOf, null, onlyIn(hits));
    at["other-title"].textContent = `Release ${other.release.id} · ${other.release.model}`;
  }
  warn(warning);
  showTools();
  const found = shown.hits.length;
  const took = Math.max(1, Math.round(timings_ms.encode + timings_ms.search));
  const limit = complete ? "" : ". Search stopped at its limit; more images may match";
  const reads = [query.read, ...(query.terms ?? []).map(({ read }) => read)].find(Boolean);
  const rest = reads ? `${limit}. Too long for the model, which read only “${reads}”` : limit;
  const shared = other ? `. ${Math.round(100 * (overlap ?? 1))} % of both are the same` : "";
  if (found) say(`${count(found, "picture")}, most similar first, in ${took} ms${shared}${rest}`);
  else say(`No pictures found${rest}.`, "empty");
  at.more.hidden = !shown.cursor;
  at.more.onclick = () => ask(place);
  nearEnd.unobserve(at.more); // observing it again reports whether it is still near
  nearEnd.observe(at.more);
}

// The mark on a hit that the other release did not find.
function onlyIn(others) {
  const ids = new Set(others.map(({ image_id }) => image_id));
  return ({ image_id }) => (ids.has(image_id) ? null : make("span", { class: "only" }, "only here"));
}

function showTools() {
  at.tools.hidden = !shown.hits.length;
  const some = chosenCount();
  at.chosen.textContent = some ? `${some} selected` : "";
  at.clear.hidden = !some;
  document.body.classList.toggle("choosing", some > 0);
}

function clear() {
  forget();
  uncheck();
  showTools();
}

function failed(error, again) {
  const message = error.status ? error.message : "Cannot reach the service.";
  if (error.status === 401) return askForKey();
  if (error.again) setTimeout(again, error.again * 1000 * (1 + Math.random())); // spread retries
  else if (!shown.hits.length) at.grid.replaceChildren();
  return say(error.again ? `${message} Trying again…` : message, error.again ? "" : "error");
}

function askForKey() {
  at.grid.replaceChildren();
  say("");
  at.login.hidden = false;
  at.key.focus();
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
  const number = shown.hits.findIndex(({ image_id }) => image_id === place.show);
  try {
    const other = shown.answer?.other?.hits.find(({ image_id }) => image_id === place.show);
    const image = shown.hits[number] ?? other ?? await record(place.show, place.collection);
    if (!isHere(place)) return;
    const beside = (hit) => hit && link({ ...place, show: hit.image_id });
    const around = number < 0 ? {} : { before: beside(shown.hits[number - 1]), after: beside(shown.hits[number + 1]) };
    opened = number;
    fill(at.detail, image, place, around, image === other ? shown.answer.other.release.id : null);
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

async function showStart() {
  let live;
  try {
    live = await showAbout(at);
  } catch (error) {
    return error.status === 401 ? askForKey() : undefined;
  }
  warn(live.warning);
  declared = await columns(here().collection).catch(() => []);
  showFilter(here());
  const { collection } = here();
  for (const example of at.examples.querySelectorAll("a")) {
    const place = { q: example.textContent, collection };
    example.href = link(place);
    await showShelf(place);
  }
  return undefined;
}

async function showShelf(place) {
  const answer = await search(place, { k: 12 }).catch(() => ({ hits: [] }));
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

function add(sign) {
  const text = at.more_text.value.trim();
  if (!text) return at.more_text.focus();
  at.more_text.value = "";
  return visit({ ...here(), terms: [...here().terms, { weight: sign * 0.5, text }], show: "" });
}

document.addEventListener("click", (event) => {
  const anchor = event.target.closest("a");
  if (!anchor || anchor.origin !== location.origin || anchor.pathname !== location.pathname) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const place = { ...placeIn(anchor.search), collection: here().collection };
  const stays = at.grid.contains(anchor) || "turn" in anchor.dataset || "refine" in anchor.dataset; // an upload, too
  if (stays) place.upload = here().upload;
  if ("turn" in anchor.dataset) turnTo(place);
  else go(place);
  show();
});
at.form.addEventListener("submit", (event) => {
  event.preventDefault();
  const q = at.q.value.trim();
  const { like, upload, terms, compare } = here();
  const asked = q ? { q, terms, compare } : { like, upload, terms, compare };
  visit({ ...placeIn(new URLSearchParams(new FormData(at.form))), ...asked });
});
at.fold.addEventListener("change", () => {
  if (asks(here())) at.form.requestSubmit();
});
at.login.addEventListener("submit", async (event) => {
  event.preventDefault();
  const refused = await logIn(at.key.value.trim()).catch((error) => error);
  if (refused) return say(refused.message, "error");
  return location.reload();
});
at.refine.addEventListener("submit", (event) => {
  event.preventDefault();
  add(1);
});
at.away.addEventListener("click", () => add(-1));
at.tools.addEventListener("click", ({ target }) => {
  if (target.value) save(target.value, shown, here());
});
at.detail.addEventListener("close", () => {
  if (at.detail.open) return; // "forward" opened it again before this event of its closing came
  focusOn(opened); // not the one that was opened first, before others in the same dialog
  if (at.detail.returnValue !== "address" && here().show) closeShown();
});
for (const dialog of [at.detail, at.keys]) {
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close()); // on what is behind it
}
at.clear.addEventListener("click", clear);
at["show-keys"].addEventListener("click", () => at.keys.showModal());
onKeys(at, { search: () => at.q.select(), clear });
onPicture(at.file, take);
addEventListener("popstate", show);
show();
showStart();
