// Selected pictures, and the files they are exported to.

import { vectorOf } from "./api.js";

const chosen = new Map(); // hits by id

export const isChosen = (id) => chosen.has(id);
export const chosenCount = () => chosen.size;
export const forget = () => chosen.clear();

export function choose(hit, on) {
  if (on) chosen.set(hit.image_id, hit);
  else chosen.delete(hit.image_id);
}

// Downloads the selected hits, or all that are shown.
export async function save(kind, shown, place, live) {
  const hits = chosen.size ? [...chosen.values()] : shown;
  const texts = {
    json: () => JSON.stringify(hits, null, 1),
    csv: () => csv(hits),
    ids: () => hits.map(({ image_id }) => image_id).join("\n"),
    sql: () => sql(hits.length, place, live),
  };
  const file = new Blob([await texts[kind]()], { type: "text/plain" });
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

// Spreadsheets run a cell that begins like a formula; an apostrophe makes it text.
function cell(value) {
  const text = String(value ?? "");
  const plain = typeof value !== "number" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

const literal = (text) => `'${text.replaceAll("'", "''")}'`;
const name = (text) => `"${text.replaceAll('"', '""')}"`;

const written = (value) => (typeof value === "string" ? literal(value) : `${literal(JSON.stringify(value))}::jsonb`);

// The statement that gives these hits; see docs/sql.md.
async function sql(count, { q, like, terms, file, filter, collection }, live) {
  const schema = name(live.collection);
  const given = Object.entries(filter).map(([field, value]) =>
    `, ${field} => ${typeof value === "number" ? value : written(value)}`).join("");
  if (terms.length || file) return "-- A search by several terms or an uploaded picture has no SQL; export the ids.\n";
  if (like && !given) return `SELECT * FROM ${schema}.similar(${literal(like)}, ${count});\n`;
  const vector = like
    ? `(SELECT embedding FROM ${schema}.embeddings WHERE image_id = ${literal(like)})`
    : `${literal(JSON.stringify(await vectorOf(q, collection)))}`;
  const about = q ? `-- “${q.replaceAll(/\s+/g, " ")}” by ${live.model}, release ${live.id}\n` : "";
  return `${about}SELECT * FROM ${schema}.search(${vector}, k => ${count}${given});\n`;
}
