-- Named statements that erase images from every index of a collection.

-- name: write_tombstones
INSERT INTO clip_assets.erased (collection, image_id, sha256, erasure, copy_of_asked)
SELECT %(collection)s, image_id, sha256, %(erasure)s, %(copies)s
FROM unnest(%(image_ids)s::text[], %(sha256s)s::text[]) AS asked (image_id, sha256)
ON CONFLICT (collection, image_id) DO UPDATE SET
    erasure = EXCLUDED.erasure, sha256 = coalesce(EXCLUDED.sha256, erased.sha256),
    index_ids = CASE WHEN erased.erasure = EXCLUDED.erasure THEN erased.index_ids ELSE ARRAY[]::bigint[] END;

-- name: tombstones
SELECT image_id, sha256, index_ids AS indexes, copy_of_asked FROM clip_assets.erased
WHERE collection = %(collection)s AND erasure = %(erasure)s ORDER BY image_id;

-- name: remembered_erasures
SELECT erasure, array_agg(image_id ORDER BY image_id) FROM clip_assets.erased
WHERE collection = %(collection)s AND NOT copy_of_asked GROUP BY erasure ORDER BY erasure;

-- name: collection_indexes
-- Only indexes that still have a table.
SELECT index_id, vector_type, {vector_schema} FROM clip_assets.index
WHERE (collection = %(collection)s) = %(own)s
  AND to_regclass('clip_assets.images_' || index_id) IS NOT NULL ORDER BY index_id;

-- name: hashes_of
SELECT image_id, sha256 FROM clip_assets.{table} WHERE image_id = ANY(%(image_ids)s);

-- name: copies_of
SELECT image_id, sha256 FROM clip_assets.{table}
WHERE sha256 = ANY(%(sha256s)s) AND image_id <> ALL(%(image_ids)s);

-- name: forget_erased
-- Deletes rows and corrects the ledger's count and checksum, so that table and ledger still agree.
-- The checksum is computed as in `damaged_shards`.
WITH gone AS (
    DELETE FROM clip_assets.{table} AS t USING clip_assets.erased AS e
    WHERE e.collection = %(collection)s AND e.image_id = t.image_id
    RETURNING t.shard, t.image_id, ('x' || encode(substr(sha256(
        {send}(t.embedding) || convert_to(t.image_id, 'UTF8')), 1, 8), 'hex')
    )::bit(64)::bigint AS checksum
), corrected AS (
    UPDATE clip_assets.ledger AS l
    SET rows = l.rows - lost.rows, checksum = l.checksum # lost.checksum
    FROM (SELECT shard, count(*) AS rows, bit_xor(checksum) AS checksum FROM gone GROUP BY shard)
        AS lost
    WHERE l.index_id = %(index_id)s AND l.shard = lost.shard
)
UPDATE clip_assets.erased AS e
SET index_ids = array_append(array_remove(e.index_ids, %(index_id)s::bigint), %(index_id)s::bigint)
FROM gone WHERE e.collection = %(collection)s AND e.image_id = gone.image_id
RETURNING e.sha256;

-- name: has_content
SELECT sha256 FROM clip_assets.{table} WHERE sha256 = ANY(%(sha256s)s);

-- name: forget_thumbnails
DELETE FROM clip_assets.thumbnail WHERE sha256 = ANY(%(sha256s)s);

-- name: lock_ledger_alone
-- No shard may be loaded between reading the ledger's content before a move and after it.
LOCK TABLE clip_assets.ledger IN SHARE ROW EXCLUSIVE MODE;

-- name: keep_judgement
UPDATE clip_assets.index
SET judgement = jsonb_set(judgement, ARRAY['content'], to_jsonb(%(after)s::text))
WHERE index_id = %(index_id)s AND judgement->>'content' = %(before)s
  AND index_id NOT IN (SELECT index_id FROM clip_assets.live JOIN clip_assets.release USING (release_id));

-- name: keep_releases
UPDATE clip_assets.release SET content = %(after)s
WHERE index_id = %(index_id)s AND content = %(before)s
  AND release_id NOT IN (SELECT release_id FROM clip_assets.live);

-- name: move_ledger
-- The table already has the rows of the rewritten commit; loading it would change nothing.
UPDATE clip_assets.ledger AS l
SET version = %(version)s, digest = %(digest)s, commit_path = %(new_path)s
FROM clip_assets.index AS i
WHERE i.index_id = l.index_id AND i.collection = %(collection)s
  AND l.commit_path = %(old_path)s AND l.rows = %(rows)s;

-- name: count_erased
SELECT count(*) FROM clip_assets.{table}
WHERE image_id = ANY(%(image_ids)s) OR sha256 = ANY(%(sha256s)s);
