// The line that names the searched collection and release, and offers others.

import { here, link } from "./address.js";
import { collections, release, releases } from "./api.js";
import { count, make } from "./elements.js";

const when = (time) => new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

// Fills the line and returns the live release, once the service is ready.
export async function showAbout(at) {
  const { collection, compare } = here();
  const live = await release(collection).catch((error) => ({ error }));
  if (live.error) {
    if (live.error.status === 404 || live.error.status === 401) throw live.error;
    await new Promise((done) => { setTimeout(done, 2000); });
    return showAbout(at);
  }
  showCollections(at.collection, collection);
  showReleases(at.compare, collection, compare);
  const text = `${live.collection} · ${count(live.rows, "image")} · ${live.model} · published ${when(live.published_at)}`;
  at.release.textContent = text;
  return live;
}

async function showCollections(select, chosen) {
  const [followed, ...others] = (await collections().catch(() => [])).filter((one) => one.searchable);
  if (!others.length) return;
  const option = ({ collection }, value) => make("option", { value }, collection);
  select.replaceChildren(option(followed, ""), ...others.map((one) => option(one, one.collection)));
  select.value = chosen;
  select.parentElement.hidden = false;
  select.onchange = () => location.assign(link({ ...here(), collection: select.value, like: "", show: "", compare: "" }));
}

async function showReleases(select, collection, chosen) {
  const all = await releases(collection).catch(() => []);
  const others = all.filter((one) => one.searchable && !one.live);
  if (!others.length) return;
  const option = ({ id, model, published_at }) => make("option", { value: id }, `${id} · ${model} · ${when(published_at)}`);
  select.replaceChildren(make("option", { value: "" }, "nothing"), ...others.map(option));
  select.value = chosen;
  select.parentElement.hidden = false;
  select.onchange = () => location.assign(link({ ...here(), compare: select.value, show: "" }));
}
