-- Named statements. {names} are identifiers that this program creates; %(names)s are bound values.

-- name: lock_ledger
-- No shard may be loaded between checking the judgement and moving the pointer.
LOCK TABLE clip_assets.ledger IN SHARE MODE;

-- name: judgement
SELECT judgement FROM clip_assets.index WHERE index_id = %(index_id)s;

-- name: add_release
INSERT INTO clip_assets.release
    (collection, index_id, content, ef_search, rows, judgement, run_id)
VALUES (%(collection)s, %(index_id)s, %(content)s, %(ef_search)s, %(rows)s, %(judgement)s,
        %(run_id)s)
RETURNING release_id;

-- name: write_comparison
UPDATE clip_assets.release SET comparison = %(comparison)s WHERE release_id = %(release_id)s;

-- name: point_at
INSERT INTO clip_assets.live VALUES (%(collection)s, %(release_id)s)
ON CONFLICT (collection) DO UPDATE SET release_id = EXCLUDED.release_id;

-- name: previous_release
SELECT before.release_id FROM clip_assets.release AS before
JOIN clip_assets.release AS now
  ON before.release_id < now.release_id AND before.index_id <> now.index_id
JOIN clip_assets.live ON live.release_id = now.release_id AND live.collection = before.collection
WHERE before.collection = %(collection)s AND before.dropped_at IS NULL
ORDER BY before.release_id DESC LIMIT 1;

-- name: superseded_indexes
-- All indexes except the `keep` most recently released.
SELECT index_id FROM clip_assets.release
WHERE collection = %(collection)s AND dropped_at IS NULL
GROUP BY index_id ORDER BY max(release_id) DESC OFFSET %(keep)s;

-- name: mark_dropped
UPDATE clip_assets.release SET dropped_at = now()
WHERE index_id = %(index_id)s AND dropped_at IS NULL;

-- name: published
SELECT index_id, content FROM clip_assets.release WHERE release_id = %(release_id)s;
