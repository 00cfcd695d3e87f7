// The dialog for one picture: its details, the lineage of its vector, and actions.

import { link } from "./address.js";
import { make, title } from "./elements.js";

export function fill(dialog, image, score, place) {
  const { width, height } = image;
  const close = make("button", { class: "close", "aria-label": "Close" }, "×");
  dialog.replaceChildren(
    make("img", { src: image.thumbnail, alt: title(image), width, height }),
    make("div", { class: "about" },
      make("h2", { id: "detail-title" }, title(image)),
      make("div", { class: "actions" },
        make("a", { class: "primary", href: link({ like: image.image_id, collection: place.collection }) }, "More like this"),
        copyButton(new URL(link(place), location).href)),
      facts([
        ["Score", score?.toFixed(4)],
        ["Id", image.image_id],
        ["File", image.uri],
        ["Size", `${width} × ${height}`],
        ["SHA-256", image.sha256],
      ]),
      make("h3", {}, "Lineage"),
      facts(lineage(image.lineage))),
    make("form", { method: "dialog" }, close));
}

function lineage({ run_id, run_url, job_id, shard, version, model, device }) {
  const run = run_url ? make("a", { href: run_url, rel: "noreferrer" }, run_id) : run_id;
  return [
    ["Run", run], ["Job", job_id], ["Shard", `${shard}, version ${version}`],
    ["Model", model], ["Device", device],
  ];
}

function facts(rows) {
  const known = rows.filter(([, value]) => value !== undefined);
  return make("dl", {}, ...known.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function copyButton(address) {
  const button = make("button", { type: "button" }, "Copy link");
  button.addEventListener("click", async () => {
    // Browsers deny the clipboard to pages loaded without TLS from another machine.
    const copied = await navigator.clipboard?.writeText(address).then(() => true, () => false);
    button.textContent = copied ? "Copied" : "Copy the link below";
    if (copied || button.nextSibling) return;
    button.after(make("input", { class: "address", readonly: "", value: address, "aria-label": "Link" }));
  });
  return button;
}
