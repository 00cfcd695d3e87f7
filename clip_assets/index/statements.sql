-- Named statements. {names} are identifiers that this program creates; %(names)s are bound values.

-- name: find_index
SELECT index_id, collection, identity, spec, vector_type, {vector_schema} AS vector_schema, judgement,
       columns
FROM clip_assets.index
WHERE collection = %(collection)s AND slug = %(slug)s
  AND (%(vector_type)s::text IS NULL OR vector_type = %(vector_type)s)
ORDER BY index_id DESC LIMIT 1;

-- name: index_by_id
SELECT index_id, collection, identity, spec, vector_type, {vector_schema} AS vector_schema, judgement,
       columns
FROM clip_assets.index
WHERE index_id = %(index_id)s;

-- name: lock_indexes
SELECT pg_advisory_xact_lock(hashtextextended('indexes of ' || %(collection)s, 0));

-- name: add_index
INSERT INTO clip_assets.index (collection, slug, identity_key, identity, spec, dim, vector_type)
SELECT %(collection)s, %(slug)s, %(identity_key)s, %(identity)s, %(spec)s, %(dim)s, %(vector_type)s
WHERE NOT EXISTS (
    SELECT FROM clip_assets.index
    WHERE collection = %(collection)s AND slug = %(slug)s AND identity_key = %(identity_key)s
      AND vector_type = %(vector_type)s AND index_id > %(newer_than)s
);

-- name: newest_index
UPDATE clip_assets.index SET spec = %(spec)s WHERE index_id = (
    SELECT max(index_id) FROM clip_assets.index
    WHERE collection = %(collection)s AND slug = %(slug)s AND identity_key = %(identity_key)s
      AND vector_type = %(vector_type)s
)
RETURNING index_id, collection, identity, spec, vector_type, {vector_schema} AS vector_schema, judgement,
          columns;

-- name: create_table
CREATE TABLE IF NOT EXISTS clip_assets.{table} (
    shard     text NOT NULL,
    row       int NOT NULL,
    image_id  text NOT NULL,
    uri       text NOT NULL,
    caption   text,
    sha256    text NOT NULL,
    width     int NOT NULL,
    height    int NOT NULL,
    embedding {vector_type}({dim}) NOT NULL,
    PRIMARY KEY (shard, row),
    UNIQUE (image_id)
);

-- name: add_columns
ALTER TABLE clip_assets.{table} {definitions};

-- name: declare_columns
UPDATE clip_assets.index SET columns = %(columns)s WHERE index_id = %(index_id)s;

-- name: drop_hnsw
DROP INDEX IF EXISTS clip_assets.{hnsw};

-- name: build_settings
SELECT current_setting('maintenance_work_mem') AS memory,
       current_setting('max_parallel_maintenance_workers') AS workers;

-- name: graph_and_buffers
SELECT pg_relation_size(%(hnsw)s::regclass) AS graph,
       pg_size_bytes(current_setting('shared_buffers')) AS buffers;

-- name: build_progress
SELECT blocks_done, blocks_total FROM pg_stat_progress_create_index
-- Only the graph build, which takes long; btree builds have other phases. At the first block,
-- Postgres reports all blocks as done.
WHERE relid = to_regclass(%(table)s) AND phase = %(phase)s
    AND blocks_done < blocks_total;

-- name: find_relation
SELECT to_regclass(%(name)s);

-- name: has_hnsw
SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%(hnsw)s);

-- name: damaged_shards
-- Shards whose rows differ from those loaded, by the checksum that `index/binary.py` defines.
SELECT coalesce(l.shard, t.shard)
FROM (SELECT * FROM clip_assets.ledger WHERE index_id = %(index_id)s) AS l
FULL JOIN (
    SELECT shard, count(*) AS rows, bit_xor(('x' || encode(substr(sha256(
        {send}(embedding) || convert_to(image_id, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint
    ) AS checksum
    FROM clip_assets.{table} GROUP BY shard
) AS t ON t.shard = l.shard
WHERE (coalesce(l.rows, 0), coalesce(l.checksum, 0))
   IS DISTINCT FROM (coalesce(t.rows, 0), coalesce(t.checksum, 0))
ORDER BY 1;

-- name: miscounted_shards
SELECT coalesce(l.shard, t.shard)
FROM (SELECT * FROM clip_assets.ledger WHERE index_id = %(index_id)s) AS l
FULL JOIN (SELECT shard, count(*) AS rows FROM clip_assets.{table} GROUP BY shard) AS t
  ON t.shard = l.shard
WHERE coalesce(l.rows, 0) <> coalesce(t.rows, 0)
ORDER BY 1;

-- name: indexes_of_model
-- The newest index, and those that are live or kept for rollback; the newest first.
SELECT index_id FROM clip_assets.index AS i
WHERE collection = %(collection)s AND slug = %(slug)s AND vector_type = %(vector_type)s
  AND (index_id = (SELECT max(index_id) FROM clip_assets.index
                   WHERE collection = i.collection AND slug = i.slug
                     AND vector_type = i.vector_type)
       OR EXISTS (SELECT FROM clip_assets.release
                  WHERE release.index_id = i.index_id AND dropped_at IS NULL))
ORDER BY index_id DESC;

-- name: is_live
SELECT EXISTS (SELECT FROM clip_assets.live JOIN clip_assets.release USING (release_id)
               WHERE index_id = %(index_id)s);

-- name: lock_shard
SELECT pg_advisory_xact_lock(hashtextextended(%(index_id)s || '/' || %(shard)s, 0));

-- name: lock_build
SELECT pg_advisory_xact_lock(hashtextextended(%(hnsw)s, 0));

-- name: ledger
SELECT shard, commit_path, digest, rows FROM clip_assets.ledger
WHERE index_id = %(index_id)s ORDER BY shard;

-- name: loaded_shard
SELECT version, digest, checksum FROM clip_assets.ledger
WHERE index_id = %(index_id)s AND shard = %(shard)s;

-- name: delete_shard
DELETE FROM clip_assets.{table} WHERE shard = %(shard)s;

-- name: delete_shards
DELETE FROM clip_assets.{table} WHERE shard = ANY(%(shards)s);

-- name: forget_shards
DELETE FROM clip_assets.ledger WHERE index_id = %(index_id)s AND shard = ANY(%(shards)s);

-- name: mark_damaged
-- No commit has this digest, so the shards are loaded again. Their ledger rows stay: searches join them.
UPDATE clip_assets.ledger SET digest = '' WHERE index_id = %(index_id)s AND shard = ANY(%(shards)s);

-- name: delete_strangers
-- Rows of shards that were never loaded.
DELETE FROM clip_assets.{table} WHERE shard = ANY(%(shards)s)
  AND shard NOT IN (SELECT shard FROM clip_assets.ledger WHERE index_id = %(index_id)s);

-- name: copy_rows
COPY clip_assets.{table} (shard, row, image_id, uri, caption, sha256, width, height, embedding{columns})
FROM STDIN (FORMAT binary);

-- name: stage_in_memory
-- Works only before the session's first temporary table; keeps 10,000 thumbnails off the disk.
SET temp_buffers = '64MB';

-- name: stage_thumbnails
-- Storing thumbnails inline and sorting them in memory halves the cost of staging.
CREATE TEMP TABLE staged_thumbnail (sha256 text, webp bytea)
    WITH (toast_tuple_target = 8160) ON COMMIT DROP;
ALTER TABLE staged_thumbnail ALTER COLUMN webp SET STORAGE EXTERNAL;
SET LOCAL work_mem = '64MB';

-- name: copy_thumbnails
COPY staged_thumbnail FROM STDIN (FORMAT binary);

-- name: keep_thumbnails
INSERT INTO clip_assets.thumbnail SELECT DISTINCT ON (sha256) sha256, webp FROM staged_thumbnail
WHERE webp <> ''
ON CONFLICT (sha256) DO NOTHING;

-- name: write_ledger
INSERT INTO clip_assets.ledger
    (index_id, shard, version, digest, commit_path, rows, rejected, checksum, run_id, job_id,
     device)
VALUES (%(index_id)s, %(shard)s, %(version)s, %(digest)s, %(commit_path)s, %(rows)s, %(rejected)s,
        %(checksum)s, %(run_id)s, %(job_id)s, %(device)s)
ON CONFLICT (index_id, shard) DO UPDATE SET
    version = EXCLUDED.version, digest = EXCLUDED.digest, commit_path = EXCLUDED.commit_path,
    rows = EXCLUDED.rows, rejected = EXCLUDED.rejected, checksum = EXCLUDED.checksum,
    run_id = EXCLUDED.run_id, job_id = EXCLUDED.job_id, device = EXCLUDED.device, loaded_at = now();

-- name: lock_release
SELECT pg_advisory_xact_lock(hashtextextended('release of ' || %(collection)s, 0));

-- name: drop_table
DROP TABLE IF EXISTS clip_assets.{table};

-- name: tables_of_indexes
SELECT index_id FROM clip_assets.index
WHERE to_regclass('clip_assets.images_' || index_id) IS NOT NULL ORDER BY index_id;

-- name: hashes_of_rows
SELECT sha256 FROM clip_assets.{table}

-- name: thumbnails_of_no_row
SELECT sha256 FROM clip_assets.thumbnail AS t
WHERE NOT EXISTS (SELECT FROM ({hashes}) AS of_rows WHERE of_rows.sha256 = t.sha256);

-- name: loaded_shards
SELECT index_id, shard, xmin::text AS transaction FROM clip_assets.ledger;

-- name: lock_thumbnails
-- Waits for loads that found an existing thumbnail but have not committed its row.
LOCK TABLE clip_assets.thumbnail IN SHARE ROW EXCLUSIVE MODE;

-- name: hashes_among
SELECT sha256 FROM clip_assets.{table}
WHERE shard = ANY(%(shards)s) AND sha256 = ANY(%(sha256s)s);

-- name: empty_ledger
DELETE FROM clip_assets.ledger WHERE index_id = %(index_id)s;

-- name: forget_judgement
UPDATE clip_assets.index SET judgement = NULL WHERE index_id = %(index_id)s;

-- name: any_released
SELECT EXISTS (
    SELECT FROM clip_assets.release JOIN clip_assets.index AS released USING (index_id)
    JOIN clip_assets.index AS this ON this.index_id = %(index_id)s
    WHERE released.index_id > %(after)s AND (
        released.collection, released.slug, released.identity_key, released.vector_type
    ) = (this.collection, this.slug, this.identity_key, this.vector_type)
);
