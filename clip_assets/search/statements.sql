-- Named statements. {names} are identifiers that this program creates; %(names)s are bound values.

-- name: live_release
SELECT r.release_id AS id, r.collection, r.index_id, r.content, r.ef_search, r.rows, r.judgement,
       r.comparison, r.run_id, r.published_at, i.identity, i.spec, i.vector_type,
       {vector_schema} AS vector_schema, i.columns
FROM clip_assets.live AS l
JOIN clip_assets.release AS r USING (release_id)
JOIN clip_assets.index AS i USING (index_id)
WHERE %(collection)s::text IS NULL OR l.collection = %(collection)s
ORDER BY (SELECT min(release_id) FROM clip_assets.release AS f WHERE f.collection = l.collection);

-- name: releases
SELECT r.release_id AS id, r.collection, r.index_id, r.content, r.ef_search, r.rows, r.judgement,
       r.comparison, r.run_id, r.published_at, i.identity, i.spec, i.vector_type,
       {vector_schema} AS vector_schema, i.columns,
       l.release_id IS NOT DISTINCT FROM r.release_id AS live, r.dropped_at, r.taken_back_at
FROM clip_assets.release AS r
JOIN clip_assets.index AS i USING (index_id)
LEFT JOIN clip_assets.live AS l ON l.collection = r.collection
WHERE r.collection = %(collection)s
  AND (%(release_id)s::bigint IS NULL OR r.release_id = %(release_id)s)
ORDER BY r.release_id DESC;

-- name: filter
-- Unused filters are NULL, and a custom plan removes their conditions.
({shards}::text[] IS NULL OR shard = ANY ({shards}::text[]))
AND ({uri_prefix}::text IS NULL OR uri ^@ {uri_prefix}::text)
AND ({words}::text IS NULL
     OR to_tsvector('simple', caption) @@ plainto_tsquery('simple', {words}::text))
AND ({min_width}::int IS NULL OR width >= {min_width}::int)
AND ({max_width}::int IS NULL OR width <= {max_width}::int)
AND ({min_height}::int IS NULL OR height >= {min_height}::int)
AND ({max_height}::int IS NULL OR height <= {max_height}::int)

-- name: filter_column
-- One declared column. Arguments of an SQL function that are not given are NULL.
({any}::{type}[] IS NULL OR {column} = ANY ({any}::{type}[]))
AND ({min}::{type} IS NULL OR {column} >= {min}::{type})
AND ({max}::{type} IS NULL OR {column} <= {max}::{type})
AND ({unknown}::boolean IS NULL OR {column} IS NULL)

-- name: column_bounds
SELECT min({column}), max({column}) FROM clip_assets.{table};

-- name: column_values
-- Steps from each value to the next in the index, so it costs the same for any number of rows.
WITH RECURSIVE value (found) AS (
    (SELECT {column} FROM clip_assets.{table} WHERE {column} IS NOT NULL ORDER BY 1 LIMIT 1)
    UNION ALL
    SELECT (SELECT {column} FROM clip_assets.{table} WHERE {column} > found ORDER BY 1 LIMIT 1)
    FROM value WHERE found IS NOT NULL
)
SELECT found FROM value WHERE found IS NOT NULL LIMIT %(limit)s;

-- name: expected_rows
EXPLAIN (FORMAT json) SELECT FROM clip_assets.{table} WHERE {filter};

-- name: count_matching
SELECT count(*) FROM (SELECT FROM clip_assets.{table} WHERE {filter} LIMIT %(limit)s) AS found;

-- name: search
-- Relaxed order is only nearly sorted, but the planner treats it as sorted; `+ 0` forces a sort.
-- The columns are those of `Neighbour`.
SELECT 1 - t.distance AS score, t.image_id, t.uri, t.caption, t.sha256, t.width, t.height,
       l.run_id, l.job_id, t.shard, l.version, l.device, {columns} AS columns
FROM ({nearest}) AS t
JOIN clip_assets.ledger AS l ON l.index_id = %(index_id)s AND l.shard = t.shard
ORDER BY t.distance + 0, t.image_id
LIMIT %(k)s;

-- name: hnsw
SELECT *, embedding {distance} %(vector)b::{vector_type} AS distance FROM clip_assets.{table}
WHERE {filter}
ORDER BY embedding {distance} %(vector)b::{vector_type} LIMIT %(fetch)s

-- name: exact
-- The HNSW cannot sort by `+ 0`, so the planner compares all matching rows. Ordered by id as well, so
-- that a larger limit only adds rows to the end.
SELECT *, (embedding {distance} %(vector)b::{vector_type}) + 0 AS distance FROM clip_assets.{table}
WHERE {filter}
ORDER BY distance, image_id LIMIT %(fetch)s

-- name: image
-- The columns are those of `Neighbour`.
SELECT 1.0::float8 AS score, t.image_id, t.uri, t.caption, t.sha256, t.width, t.height,
       l.run_id, l.job_id, t.shard, l.version, l.device, {columns} AS columns
FROM clip_assets.{table} AS t
JOIN clip_assets.ledger AS l ON l.index_id = %(index_id)s AND l.shard = t.shard
WHERE t.image_id = %(image_id)s;

-- name: vector
SELECT embedding::real[] FROM clip_assets.{table} WHERE image_id = %(image_id)s;

-- name: vectors
SELECT image_id, embedding::real[] FROM clip_assets.{table} WHERE image_id = ANY (%(image_ids)s);

-- name: origin
-- The columns are those of `Origin`.
SELECT t.image_id, t.uri, t.sha256, t.shard, t.row, l.version, l.digest, l.commit_path,
       l.run_id, l.job_id, l.device, l.loaded_at
FROM clip_assets.{table} AS t
JOIN clip_assets.ledger AS l ON l.index_id = %(index_id)s AND l.shard = t.shard
WHERE t.image_id = %(image_id)s;

-- name: some_vectors
SELECT embedding::real[] FROM clip_assets.{table} LIMIT %(count)s;

-- name: any_loaded
SELECT EXISTS (SELECT FROM clip_assets.ledger WHERE index_id = %(index_id)s AND rows > 0);

-- name: has_hnsw
SELECT EXISTS (
    SELECT FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid JOIN pg_am AS a ON a.oid = c.relam
    WHERE indrelid = to_regclass(%(table)s) AND amname = 'hnsw' AND indisvalid
);

-- name: thumbnail
SELECT webp FROM clip_assets.thumbnail WHERE sha256 = %(sha256)s;
