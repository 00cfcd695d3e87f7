-- Named statements. {names} are identifiers of our own making; %(names)s are bound values.

-- name: find_index
SELECT index_id, collection, identity, spec, vector_type, judgement FROM clip_assets.index
WHERE collection = %(collection)s AND slug = %(slug)s
  AND (%(vector_type)s::text IS NULL OR vector_type = %(vector_type)s)
ORDER BY index_id DESC LIMIT 1;

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
RETURNING index_id, judgement;

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

-- name: create_hnsw
CREATE INDEX IF NOT EXISTS {hnsw} ON clip_assets.{table}
USING hnsw (embedding {cosine_ops}) WITH (m = {m}, ef_construction = {ef_construction});

-- name: drop_hnsw
DROP INDEX IF EXISTS clip_assets.{hnsw};

-- name: build_settings
SELECT current_setting('maintenance_work_mem'), current_setting('max_parallel_maintenance_workers');

-- name: graph_and_buffers
SELECT pg_relation_size(%(hnsw)s::regclass), pg_size_bytes(current_setting('shared_buffers'));

-- name: build_progress
SELECT blocks_done, blocks_total FROM pg_stat_progress_create_index
-- Of the graph, which alone takes long: the btrees have other phases. At the first block Postgres
-- says that all are done.
WHERE relid = to_regclass(%(table)s) AND phase = 'building index: loading tuples'
    AND blocks_done < blocks_total;

-- name: find_relation
SELECT to_regclass(%(name)s);

-- name: has_hnsw
SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%(hnsw)s);

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

-- name: copy_rows
COPY clip_assets.{table} (shard, row, image_id, uri, caption, sha256, width, height, embedding)
FROM STDIN (FORMAT binary);

-- name: stage_in_memory
-- For a session that has no temporary table yet: ten thousand pictures stay off the disk.
SET temp_buffers = '64MB';

-- name: stage_thumbnails
-- Kept whole in their rows, and sorted in memory, staged pictures cost half as much.
CREATE TEMP TABLE staged_thumbnail (sha256 text, webp bytea)
    WITH (toast_tuple_target = 8160) ON COMMIT DROP;
ALTER TABLE staged_thumbnail ALTER COLUMN webp SET STORAGE EXTERNAL;
SET LOCAL work_mem = '64MB';

-- name: copy_thumbnails
COPY staged_thumbnail FROM STDIN (FORMAT binary);

-- name: keep_thumbnails
INSERT INTO clip_assets.thumbnail SELECT DISTINCT ON (sha256) sha256, webp FROM staged_thumbnail
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

-- name: damaged_shards
-- Shards whose rows are not the ones that were loaded: `binary.checksum` of the table.
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

-- name: sample_vectors
SELECT image_id, {bucket}, embedding::real[] FROM clip_assets.{table}
ORDER BY md5(image_id) LIMIT %(count)s;

-- name: bucket
-- The first 32 bits of the content's hash, as a number: what share of the images is below a value
-- is known beforehand, and neither the picture nor the shard has a say in it.
('x' || substr(sha256, 1, 8))::bit(32)::bigint

-- name: copy_vectors
COPY (SELECT {bucket}, embedding FROM clip_assets.{table}) TO STDOUT (FORMAT binary);

-- name: bytes
SELECT pg_table_size(%(table)s::regclass), coalesce(pg_relation_size(to_regclass(%(hnsw)s)), 0);

-- name: vectors_of
SELECT image_id, embedding::real[] FROM clip_assets.{table} WHERE image_id = ANY (%(image_ids)s);

-- name: write_judgement
UPDATE clip_assets.index SET judgement = %(judgement)s WHERE index_id = %(index_id)s;

-- name: lock_release
SELECT pg_advisory_xact_lock(hashtextextended('release of ' || %(collection)s, 0));

-- name: lock_ledger
-- No shard may be loaded between the look at what was judged and the move of the pointer.
LOCK TABLE clip_assets.ledger IN SHARE MODE;

-- name: judgement
SELECT judgement FROM clip_assets.index WHERE index_id = %(index_id)s;

-- name: add_release
INSERT INTO clip_assets.release
    (collection, index_id, content, ef_search, rows, judgement, run_id)
VALUES (%(collection)s, %(index_id)s, %(content)s, %(ef_search)s, %(rows)s, %(judgement)s,
        %(run_id)s)
RETURNING release_id;

-- name: write_report
UPDATE clip_assets.release SET report = %(report)s WHERE release_id = %(release_id)s;

-- name: point_at
INSERT INTO clip_assets.live VALUES (%(collection)s, %(release_id)s)
ON CONFLICT (collection) DO UPDATE SET release_id = EXCLUDED.release_id;

-- name: live_release
SELECT r.release_id AS id, r.collection, r.index_id, r.content, r.ef_search, r.rows, r.judgement,
       r.report, r.run_id, r.published_at, i.identity, i.spec, i.vector_type
FROM clip_assets.live AS l
JOIN clip_assets.release AS r USING (release_id)
JOIN clip_assets.index AS i USING (index_id)
WHERE %(collection)s::text IS NULL OR l.collection = %(collection)s
ORDER BY l.collection;

-- name: previous_release
SELECT before.release_id FROM clip_assets.release AS before
JOIN clip_assets.release AS now
  ON before.release_id < now.release_id AND before.index_id <> now.index_id
JOIN clip_assets.live ON live.release_id = now.release_id AND live.collection = before.collection
WHERE before.collection = %(collection)s AND before.dropped_at IS NULL
ORDER BY before.release_id DESC LIMIT 1;

-- name: superseded_indexes
-- Indexes whose last release is older than those of `keep` other indexes.
SELECT index_id FROM clip_assets.release
WHERE collection = %(collection)s AND dropped_at IS NULL
GROUP BY index_id ORDER BY max(release_id) DESC OFFSET %(keep)s;

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
SELECT index_id, shard, xmin::text FROM clip_assets.ledger;

-- name: lock_thumbnails
-- A load that found a thumbnail there, and has not committed its row, is waited for.
LOCK TABLE clip_assets.thumbnail IN SHARE ROW EXCLUSIVE MODE;

-- name: hashes_among
SELECT sha256 FROM clip_assets.{table}
WHERE shard = ANY(%(shards)s) AND sha256 = ANY(%(sha256s)s);

-- name: empty_ledger
DELETE FROM clip_assets.ledger WHERE index_id = %(index_id)s;

-- name: forget_judgement
UPDATE clip_assets.index SET judgement = NULL WHERE index_id = %(index_id)s;

-- name: mark_dropped
UPDATE clip_assets.release SET dropped_at = now()
WHERE index_id = %(index_id)s AND dropped_at IS NULL;

-- name: any_released
SELECT EXISTS (
    SELECT FROM clip_assets.release JOIN clip_assets.index AS released USING (index_id)
    JOIN clip_assets.index AS this ON this.index_id = %(index_id)s
    WHERE released.index_id > %(after)s AND (
        released.collection, released.slug, released.identity_key, released.vector_type
    ) = (this.collection, this.slug, this.identity_key, this.vector_type)
);

-- name: published
SELECT i.index_id, i.collection, i.identity, i.spec, i.vector_type, i.judgement, r.content
FROM clip_assets.release AS r JOIN clip_assets.index AS i USING (index_id)
WHERE r.release_id = %(release_id)s;

-- name: filter
-- What a filter lets through. Whatever is not asked for is NULL, and folds away in a custom plan.
({shards}::text[] IS NULL OR shard = ANY ({shards}::text[]))
AND ({uri_prefix}::text IS NULL OR uri ^@ {uri_prefix}::text)
AND ({words}::text IS NULL
     OR to_tsvector('simple', caption) @@ plainto_tsquery('simple', {words}::text))
AND ({min_width}::int IS NULL OR width >= {min_width}::int)
AND ({max_width}::int IS NULL OR width <= {max_width}::int)
AND ({min_height}::int IS NULL OR height >= {min_height}::int)
AND ({max_height}::int IS NULL OR height <= {max_height}::int)

-- name: expected_rows
EXPLAIN (FORMAT json) SELECT FROM clip_assets.{table} WHERE {filter};

-- name: count_matching
SELECT count(*) FROM (SELECT FROM clip_assets.{table} WHERE {filter} LIMIT %(limit)s) AS found;

-- name: search
-- A walk in relaxed order is nearly sorted; the planner takes it for sorted and would not sort it
-- again, were it not for the sum.
SELECT 1 - t.distance, t.image_id, t.uri, t.caption, t.sha256, t.width, t.height,
       l.run_id, l.job_id, t.shard, l.version, l.device
FROM ({nearest}) AS t
JOIN clip_assets.ledger AS l ON l.index_id = %(index_id)s AND l.shard = t.shard
ORDER BY t.distance + 0, t.image_id
LIMIT %(k)s;

-- name: walk
SELECT *, embedding <=> %(vector)b::{vector_type} AS distance FROM clip_assets.{table}
WHERE {filter}
ORDER BY embedding <=> %(vector)b::{vector_type} LIMIT %(fetch)s

-- name: compare
-- The sum is no order that the HNSW knows, so it is left alone and all that match are compared.
SELECT *, (embedding <=> %(vector)b::{vector_type}) + 0 AS distance FROM clip_assets.{table}
WHERE {filter}
ORDER BY distance LIMIT %(fetch)s

-- name: image
SELECT 1.0, t.image_id, t.uri, t.caption, t.sha256, t.width, t.height,
       l.run_id, l.job_id, t.shard, l.version, l.device
FROM clip_assets.{table} AS t
JOIN clip_assets.ledger AS l ON l.index_id = %(index_id)s AND l.shard = t.shard
WHERE t.image_id = %(image_id)s;

-- name: vector
SELECT embedding::real[] FROM clip_assets.{table} WHERE image_id = %(image_id)s;

-- name: thumbnail
SELECT webp FROM clip_assets.thumbnail WHERE sha256 = %(sha256)s;
