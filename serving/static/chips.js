// Chips: further terms of a search, each a text or picture to search for or away from.

import { make } from "./elements.js";

const STEPS = [0.25, 0.5, 1, 2]; // the weights that clicking a chip's weight cycles through

// `change` is called with the new list of terms.
export function showChips(list, terms, change) {
  list.replaceChildren(...terms.map((term, at) => {
    const without = terms.filter((_, other) => other !== at);
    const instead = (weight) => change(terms.map((one, other) => (other === at ? { ...one, weight } : one)));
    const name = term.text ?? `like ${term.image_id.split("/").pop()}`;
    const away = term.weight < 0;
    return make("li", { class: away ? "chip away" : "chip" },
      button(away ? "−" : "+", `Reverse “${name}”`, () => instead(-term.weight)),
      make("span", {}, name),
      button(`× ${Math.abs(term.weight)}`, `Weight of “${name}”: ${Math.abs(term.weight)}`, () => instead(next(term.weight))),
      button("✕", `Remove “${name}”`, () => change(without)));
  }));
}

function next(weight) {
  const larger = STEPS.find((step) => step > Math.abs(weight)) ?? STEPS[0];
  return Math.sign(weight) * larger;
}

function button(text, label, click) {
  const made = make("button", { type: "button", "aria-label": label, title: label }, text);
  made.addEventListener("click", click);
  return made;
}
