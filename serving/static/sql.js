// The statement that returns the pictures that the page shows, in the same order; see docs/sql.md. It does in
// Postgres what the service does after the search: omits the pictures searched for and those that score too
// low, and collapses duplicates.

import { NEAR } from "./api.js";

const COLUMNS = "image_id, score, caption, uri, sha256, shard";

const literal = (text) => `'${text.replaceAll("'", "''")}'`;
const name = (text) => `"${text.replaceAll('"', '""')}"`;
const oneOf = (ids) => `(${ids.map(literal).join(", ")})`;

// `answer`: of the first page. `shown`: how many pictures, and how many of the nearest were examined for them.
// `chosen`: only these ids.
export function statement(place, { query, collection, release }, shown, chosen) {
  const schema = name(collection);
  const parts = [
    `found AS (\n  SELECT * FROM ${searched(schema, query.vector, place.filter, shown.depth)} WITH ORDINALITY\n)`,
    `passed AS (\n  SELECT * FROM found${where([...excluded(place), ...highEnough(place)])}\n)`,
    ...folding(place.fold, schema, shown.count),
    `shown AS (\n  SELECT * FROM ${place.fold ? "folded" : "passed"} ORDER BY ordinality LIMIT ${shown.count}\n)`,
  ];
  const about = `-- ${described(place)} by ${release.model}, in release ${release.id} of ${collection}`;
  const only = where(chosen.length ? [`image_id IN ${oneOf(chosen)}`] : []);
  return `${oneLine(about)}\nWITH ${place.fold === "near" ? "RECURSIVE " : ""}${parts.join(", ")}\n`
    + `SELECT ${COLUMNS} FROM shown${only} ORDER BY ordinality;\n`;
}

function searched(schema, vector, filter, depth) {
  const near = literal(JSON.stringify(vector));
  if (!Object.keys(filter).length) return `${schema}.search(${near}, k => ${depth})`;
  return `${schema}.search_where(${near}, ${literal(JSON.stringify(filter))}, k => ${depth})`;
}

const where = (conditions) => (conditions.length ? ` WHERE ${conditions.join(" AND ")}` : "");

const highEnough = ({ min_score }) => (min_score ? [`score >= ${Number(min_score)}`] : []);

function excluded({ like, terms }) {
  const pictures = [like, ...terms.map(({ image_id }) => image_id)].filter(Boolean);
  return pictures.length ? [`image_id NOT IN ${oneOf(pictures)}`] : [];
}

function folding(fold, schema, count) {
  if (fold === "near") return nearFolded(schema, count);
  return fold ? [EQUAL] : [];
}

const EQUAL = `folded AS (
  SELECT * FROM (
    SELECT *, row_number() OVER (PARTITION BY sha256 ORDER BY ordinality) AS copy FROM passed
  ) AS numbered WHERE copy = 1
)`;

// Keeps each picture that is not near one kept before.
const nearFolded = (schema, count) => [`placed AS MATERIALIZED (
  SELECT passed.*, embedding, row_number() OVER (ORDER BY ordinality) AS place
  FROM passed JOIN ${schema}.embeddings USING (image_id)
)`, `walked (place, kept) AS (
  SELECT 0::bigint, '{}'::bigint[]
  UNION ALL
  SELECT here.place, CASE WHEN EXISTS (
    SELECT FROM placed AS before WHERE before.place = ANY (kept) AND 1 - (before.embedding <=> here.embedding) >= ${NEAR}
  ) THEN kept ELSE kept || here.place END
  FROM walked JOIN placed AS here ON here.place = walked.place + 1 WHERE cardinality(kept) < ${count}
)`, `folded AS (
  SELECT * FROM placed WHERE place = ANY ((SELECT kept FROM walked ORDER BY place DESC LIMIT 1)::bigint[])
)`];

function described({ q, like, file, terms }) {
  const first = file ? `the picture “${file.name}”` : like ? `like ${like}` : q && `“${q}”`;
  const others = terms.map(({ weight, text, image_id }) =>
    `${weight < 0 ? "−" : "+"} ${Math.abs(weight)} × ${image_id ? `like ${image_id}` : `“${text}”`}`);
  return [first, ...others].filter(Boolean).join(" ");
}

const oneLine = (text) => text.replaceAll(/\s+/g, " "); // a line break would end the comment
