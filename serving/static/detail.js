// The dialog for one picture: its details, why it is here, and actions.

import { asks, link } from "./address.js";
import { lineage } from "./api.js";
import { make, title } from "./elements.js";

// `around`: the places of the pictures before and after it, if any; `release`: its release, if not the live one.
export function fill(dialog, image, place, around, release) {
  const { width, height } = image;
  const { collection, filter } = place;
  const term = { weight: 0.5, image_id: image.image_id };
  const also = (weight) => link({ ...place, show: "", terms: [...place.terms, { ...term, weight }] });
  const asked = asks(place);
  dialog.replaceChildren(
    make("div", { class: "stage" },
      make("img", { src: image.thumbnail, alt: title(image), width, height }),
      turn("Previous picture", "‹", around.before),
      turn("Next picture", "›", around.after)),
    make("div", { class: "about" },
      make("h2", { id: "detail-title" }, title(image)),
      make("div", { class: "actions" },
        make("a", { class: "primary", href: link({ like: image.image_id, filter, collection }) }, "More like this"),
        asked ? make("a", { href: also(0.5), "data-refine": "", title: "Also search for this picture" }, "+ this") : null,
        asked ? make("a", { href: also(-0.5), "data-refine": "", title: "Search away from this picture" }, "− this") : null,
        image.original ? make("a", { href: image.original, target: "_blank", rel: "noreferrer" }, "Original") : null,
        copyButton(new URL(link(place), location).href)),
      facts([
        ["Score", image.score?.toFixed(4)],
        ["Id", image.image_id],
        ["File", image.uri],
        ["Size", `${width} × ${height}`],
        ["SHA-256", image.sha256],
      ]),
      make("h3", {}, "Lineage"),
      facts(made(image.lineage)),
      why(image, collection, release)),
    make("form", { method: "dialog" }, make("button", { class: "close", "aria-label": "Close" }, "×")));
}

function turn(label, sign, href) {
  return href ? make("a", { class: "turn", href, "aria-label": label, "data-turn": "" }, sign) : null;
}

function run(id, url) {
  return url ? make("a", { href: url, rel: "noreferrer" }, id) : id;
}

function made({ run_id, run_url, job_id, shard, version, model, device }) {
  return [
    ["Run", run(run_id, run_url)], ["Job", job_id], ["Shard", `${shard}, version ${version}`],
    ["Model", model], ["Device", device],
  ];
}

// Where the picture comes from; fetched when the section is opened.
function why(image, collection, release) {
  const details = make("details", { class: "why" }, make("summary", {}, "Why is this here?"));
  details.addEventListener("toggle", async () => {
    if (details.querySelector("dl, p")) return;
    const found = await lineage(image.image_id, collection, release).catch((error) => error);
    if (found instanceof Error) return details.append(make("p", {}, found.message));
    const { identity } = found;
    details.append(
      make("p", {}, `Its vector is among the nearest to the query in release ${found.release}. It was made from this file:`),
      facts([
        ["File hash", found.sha256],
        ["Row", `${found.row} of shard ${found.shard}, version ${found.version}`],
        ["Commit", found.commit_path],
        ["Digest", found.digest],
        ["Embedded by", run(found.run_id, found.run_url)],
        ["Weights", identity.weights_sha256 ?? identity.weights],
        ["Loaded", new Date(found.loaded_at).toLocaleString()],
        ["Release", `${found.release}, ${new Date(found.published_at).toLocaleString()}`],
        ["Released by", run(found.release_run_id, found.release_run_url)],
      ]));
  });
  return details;
}

function facts(rows) {
  const known = rows.filter(([, value]) => value !== undefined && value !== null);
  return make("dl", {}, ...known.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function copyButton(address) {
  const button = make("button", { type: "button" }, "Copy link");
  button.addEventListener("click", async () => {
    // Browsers allow the clipboard only over TLS or on this machine.
    const copied = await navigator.clipboard?.writeText(address).then(() => true, () => false);
    button.textContent = copied ? "Copied" : "Copy the link below";
    if (copied || button.nextSibling) return;
    button.after(make("input", { class: "address", readonly: "", value: address, "aria-label": "Link" }));
  });
  return button;
}
