// Keyboard shortcuts; the dialog `keys` in page.html lists them.

import { move } from "./grid.js";

const CLICKED = { x: ".choose input", r: ".judge [value=right]", w: ".judge [value=wrong]" };
const TURNED = { ArrowLeft: "Previous picture", ArrowRight: "Next picture" };

// `search` focuses the search box, `clear` clears the selection.
export function onKeys({ detail, keys }, { search, clear }) {
  const others = { "/": search, "?": () => keys.showModal(), Escape: clear };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
    if (detail.open) {
      detail.querySelector(`[aria-label="${TURNED[event.key]}"]`)?.click();
    } else if (event.key in CLICKED) {
      document.activeElement.closest("li")?.querySelector(CLICKED[event.key])?.click();
    } else if (event.key in others) {
      event.preventDefault();
      others[event.key]();
    } else if (event.key.startsWith("Arrow") && move(event.key)) event.preventDefault();
  });
}
