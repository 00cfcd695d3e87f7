// Rows of pictures in their own aspect ratios, and placeholders while they load.

import { make, title } from "./elements.js";
import { choose, isChosen } from "./selection.js";

const SHAPES = [1.5, 1, 1.33, 0.75, 1.78, 1.2, 1.5, 0.8, 1.4, 1, 1.6, 1.33];

export function skeletons(grid) {
  grid.replaceChildren(...SHAPES.map((shape) => tile(shape, "tile skeleton")));
}

// `chosen` is called when the selection changes; `more` returns a further element for a hit.
export function append(grid, hits, link, chosen, more = () => null) {
  grid.append(...hits.map((hit) => picture(hit, link(hit), chosen, more(hit))));
}

export function shelf(name, link, hits, linkOf) {
  const row = make("ul", {}, ...hits.map((hit) => picture(hit, linkOf(hit))));
  return make("section", { class: "shelf" }, make("h2", {}, make("a", { href: link }, name)), row);
}

export const focusOn = (number) => links()[number]?.focus();

export function uncheck() {
  for (const input of document.querySelectorAll(".choose :checked")) input.checked = false;
}

const links = () => [...document.querySelectorAll("#grid > li > a")];

// Arrow keys move the focus: left and right in order, up and down to the nearest picture in the next row.
export function move(key) {
  const all = links();
  const from = all.indexOf(document.activeElement);
  if (from < 0) return false;
  const to = key === "ArrowLeft" ? from - 1 : key === "ArrowRight" ? from + 1 : vertical(all, from, key === "ArrowDown");
  all[to]?.focus();
  return to >= 0 && to < all.length;
}

function vertical(all, from, down) {
  const { left, width, top } = all[from].getBoundingClientRect();
  const middle = left + width / 2;
  const boxes = all.map((link, at) => ({ at, box: link.getBoundingClientRect() }));
  const beyond = boxes.filter(({ box }) => (down ? box.top > top + 1 : box.top < top - 1));
  const row = down ? Math.min(...beyond.map(({ box }) => box.top)) : Math.max(...beyond.map(({ box }) => box.top));
  const away = ({ box }) => Math.abs(box.left + box.width / 2 - middle);
  const near = beyond.filter(({ box }) => Math.abs(box.top - row) < 1).sort((a, b) => away(a) - away(b));
  return near[0]?.at ?? -1;
}

function picture(hit, href, chosen, more) {
  const image = make("img", {
    src: hit.thumbnail, alt: title(hit), width: hit.width, height: hit.height, decoding: "async",
  });
  image.addEventListener("load", () => image.classList.add("seen"), { once: true });
  const link = make("a", { href }, image,
    make("span", { class: "name" }, title(hit)),
    make("span", { class: "score", title: "cosine similarity" }, hit.score.toFixed(3)));
  return tile(hit.width / hit.height, "tile", link, chosen && box(hit, chosen), more);
}

function box(hit, chosen) {
  const input = make("input", { type: "checkbox", "aria-label": `Select ${title(hit)}` });
  input.checked = isChosen(hit.image_id);
  input.addEventListener("change", () => {
    choose(hit, input.checked);
    chosen();
  });
  input.addEventListener("click", ({ shiftKey }) => {
    const all = [...document.querySelectorAll("#grid .choose input")];
    const [from, to] = [all.indexOf(last), all.indexOf(input)].sort((a, b) => a - b);
    if (shiftKey && from >= 0) for (const other of all.slice(from, to + 1)) set(other, input.checked);
    last = input;
  });
  return make("label", { class: "choose" }, input);
}

let last = null; // the last clicked box: Shift-click selects the range from there

function set(input, checked) {
  if (input.checked === checked) return;
  input.checked = checked;
  input.dispatchEvent(new Event("change"));
}

function tile(shape, name, ...children) {
  const item = make("li", { class: name }, ...children.filter(Boolean));
  // Crop extreme shapes: a panorama would fill a row, and a very tall picture would be too narrow.
  item.style.setProperty("--shape", Math.min(2.4, Math.max(0.6, shape)));
  return item;
}
