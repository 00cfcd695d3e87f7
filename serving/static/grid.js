// Rows of pictures in their own aspect ratios, or placeholders while they load.

import { make, title } from "./elements.js";

const SHAPES = [1.5, 1, 1.33, 0.75, 1.78, 1.2, 1.5, 0.8, 1.4, 1, 1.6, 1.33];

export function skeletons(grid) {
  grid.replaceChildren(...SHAPES.map((shape) => tile(shape, "tile skeleton")));
}

export function pictures(grid, hits, link) {
  grid.replaceChildren(...hits.map((hit) => picture(hit, link(hit))));
}

export function shelf(name, link, hits, linkOf) {
  const row = make("ul", {}, ...hits.map((hit) => picture(hit, linkOf(hit))));
  return make("section", { class: "shelf" }, make("h2", {}, make("a", { href: link }, name)), row);
}

function picture(hit, href) {
  const image = make("img", {
    src: hit.thumbnail, alt: title(hit), width: hit.width, height: hit.height, decoding: "async",
  });
  image.addEventListener("load", () => image.classList.add("seen"), { once: true });
  const link = make("a", { href }, image,
    make("span", { class: "name" }, title(hit)),
    make("span", { class: "score", title: "cosine similarity" }, hit.score.toFixed(3)));
  return tile(hit.width / hit.height, "tile", link);
}

function tile(shape, name, ...children) {
  const item = make("li", { class: name }, ...children);
  // Crop extreme shapes: a panorama would fill a row, and a very tall picture would be too narrow.
  item.style.setProperty("--shape", Math.min(2.4, Math.max(0.6, shape)));
  return item;
}
