-- Named statements about the data that a collection's index is made of.

-- name: owner
SELECT data_id, uri FROM clip_assets.owner WHERE collection = %(collection)s;

-- name: claim
-- Waits for another session that claims the same collection.
INSERT INTO clip_assets.owner (collection, data_id, uri)
VALUES (%(collection)s, %(data_id)s, %(uri)s) ON CONFLICT (collection) DO NOTHING;

-- name: move_owner
UPDATE clip_assets.owner SET uri = %(uri)s
WHERE collection = %(collection)s AND data_id = %(data_id)s AND uri <> %(uri)s;

-- name: succeed_owner
UPDATE clip_assets.owner SET data_id = %(data_id)s, uri = %(uri)s
WHERE collection = %(collection)s AND data_id = %(former)s;

-- name: lose_commits
-- New commits may have the paths of those that were lost. Ledger rows stay: searches join them.
UPDATE clip_assets.ledger SET commit_path = '', version = 0
FROM clip_assets.index
WHERE ledger.index_id = index.index_id AND collection = %(collection)s;

-- name: loaded_commits
SELECT commit_path FROM clip_assets.ledger JOIN clip_assets.index USING (index_id)
WHERE collection = %(collection)s ORDER BY loaded_at DESC LIMIT %(count)s;
