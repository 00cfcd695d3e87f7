// The selected pictures, and their export to files.

import { statement } from "./sql.js";

const chosen = new Map(); // hits by id

export const isChosen = (id) => chosen.has(id);
export const chosenCount = () => chosen.size;
export const forget = () => chosen.clear();

export function choose(hit, on) {
  if (on) chosen.set(hit.image_id, hit);
  else chosen.delete(hit.image_id);
}

// Downloads the selected hits, or all shown hits. `shown` has the hits and their answer.
export function save(kind, shown, place) {
  const hits = chosen.size ? [...chosen.values()] : shown.hits;
  const texts = {
    json: () => JSON.stringify(hits, null, 1),
    csv: () => csv(hits),
    ids: () => hits.map(({ image_id }) => image_id).join("\n"),
    sql: () => statement(place, shown.answer, { count: shown.hits.length, depth: shown.depth }, [...chosen.keys()]),
  };
  const file = new Blob([texts[kind]()], { type: "text/plain" });
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(file);
  anchor.download = kind === "ids" ? "ids.txt" : `images.${kind}`;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
}

const COLUMNS = ["score", "image_id", "uri", "caption", "width", "height", "sha256"];

function csv(hits) {
  const rows = hits.map((hit) => [...COLUMNS.map((name) => hit[name]), hit.lineage.run_id, hit.lineage.shard]);
  return [[...COLUMNS, "run_id", "shard"], ...rows].map((row) => row.map(cell).join(",")).join("\r\n");
}

// Spreadsheets execute cells that begin like a formula; an apostrophe makes them text.
function cell(value) {
  const text = String(value ?? "");
  const plain = typeof value !== "number" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}
