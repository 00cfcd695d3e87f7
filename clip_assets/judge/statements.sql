-- Named statements. {names} are identifiers that this program creates; %(names)s are bound values.

-- name: sample_vectors
SELECT image_id, {bucket} AS bucket, embedding::real[] AS vector FROM clip_assets.{table}
ORDER BY md5(image_id) LIMIT %(count)s;

-- name: bucket
-- The first 32 bits of the content hash as a number. They are evenly distributed, so the share of
-- images below a value is known in advance and does not depend on what they show or on their shard.
('x' || substr(sha256, 1, 8))::bit(32)::bigint

-- name: copy_vectors
COPY (SELECT {bucket}, embedding FROM clip_assets.{table}) TO STDOUT (FORMAT binary);

-- name: bytes
SELECT pg_table_size(%(table)s::regclass) AS table_bytes,
       coalesce(pg_relation_size(to_regclass(%(hnsw)s)), 0) AS hnsw_bytes;

-- name: equal_vectors
-- The number of rows whose vector another row also has, and the most rows with the same vector.
SELECT coalesce(sum(n), 0)::bigint AS rows, coalesce(max(n), 0)::bigint AS most
FROM (SELECT count(*) AS n FROM clip_assets.{table} GROUP BY md5({send}(embedding))::uuid
      HAVING count(*) > 1) AS equal;

-- name: vectors_of
SELECT image_id, embedding::real[] AS vector FROM clip_assets.{table}
WHERE image_id = ANY (%(image_ids)s);

-- name: write_judgement
UPDATE clip_assets.index SET judgement = %(judgement)s WHERE index_id = %(index_id)s;
