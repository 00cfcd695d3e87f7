-- What the SQL functions run. {names} are identifiers and literals; {query} and {k} are arguments.

-- name: few_match
(
    SELECT count(*) FROM (
        SELECT FROM clip_assets.{table} WHERE {filter} LIMIT {exact_rows} + 1
    ) AS matching
) <= {exact_rows}

-- name: exact
-- The HNSW cannot sort by the sum.
SELECT near.image_id, 1 - near.distance, near.caption, near.uri, near.sha256, near.shard
FROM (SELECT *, (embedding {distance} {query}::{vector_type}) + 0 AS distance FROM clip_assets.{table}
      WHERE {filter}) AS near
ORDER BY near.distance + 0, near.image_id LIMIT {k}

-- name: hnsw
-- The query is cast to the column's type; otherwise Postgres would cast a vector column to halfvec, and
-- could not use the HNSW. Relaxed order is only nearly sorted, but the planner treats it as sorted;
-- `distance + 0` forces a sort.
SELECT near.image_id, 1 - near.distance, near.caption, near.uri, near.sha256, near.shard
FROM (SELECT *, embedding {distance} {query}::{vector_type} AS distance FROM clip_assets.{table}
      WHERE {filter} ORDER BY embedding {distance} {query}::{vector_type}
      LIMIT {fetch}) AS near
ORDER BY near.distance + 0, near.image_id LIMIT {k}
