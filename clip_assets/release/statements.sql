-- Named statements. {names} are identifiers that this program creates; %(names)s are bound values.

-- name: lock_ledger
-- No shard may be loaded between checking the judgement and moving the pointer.
LOCK TABLE clip_assets.ledger IN SHARE MODE;

-- name: judgement
SELECT judgement FROM clip_assets.index WHERE index_id = %(index_id)s;

-- name: add_release
INSERT INTO clip_assets.release
    (collection, index_id, content, ef_search, rows, judgement, run_id, replaced)
VALUES (%(collection)s, %(index_id)s, %(content)s, %(ef_search)s, %(rows)s, %(judgement)s,
        %(run_id)s, %(replaced)s)
RETURNING release_id;

-- name: write_comparison
UPDATE clip_assets.release SET comparison = %(comparison)s WHERE release_id = %(release_id)s;

-- name: point_at
INSERT INTO clip_assets.live VALUES (%(collection)s, %(release_id)s)
ON CONFLICT (collection) DO UPDATE SET release_id = EXCLUDED.release_id;

-- name: previous_release
-- Following `replaced`, whose numbers only decrease: the first release of another index that still
-- exists and was not taken back.
WITH RECURSIVE before AS (
    SELECT r.*, r.index_id AS live_index
    FROM clip_assets.live AS l JOIN clip_assets.release AS r USING (release_id)
    WHERE l.collection = %(collection)s
  UNION ALL
    SELECT r.*, before.live_index
    FROM before JOIN clip_assets.release AS r ON r.release_id = before.replaced
)
SELECT release_id FROM before
WHERE index_id <> live_index AND dropped_at IS NULL AND taken_back_at IS NULL
ORDER BY release_id DESC LIMIT 1;

-- name: take_back
-- All releases of the live index: they have the same rows.
UPDATE clip_assets.release SET taken_back_at = now()
WHERE taken_back_at IS NULL AND index_id = (
    SELECT index_id FROM clip_assets.live JOIN clip_assets.release USING (release_id)
    WHERE live.collection = %(collection)s
);

-- name: superseded_indexes
-- All indexes except the `keep` most recently released; no rollback returns to those taken back.
SELECT index_id FROM clip_assets.release
WHERE collection = %(collection)s AND dropped_at IS NULL
GROUP BY index_id
ORDER BY bool_and(taken_back_at IS NOT NULL), max(release_id) DESC OFFSET %(keep)s;

-- name: mark_dropped
UPDATE clip_assets.release SET dropped_at = now()
WHERE index_id = %(index_id)s AND dropped_at IS NULL;

-- name: schema_exists
SELECT to_regnamespace(quote_ident(%(collection)s)) IS NOT NULL;

-- name: create_schema
CREATE SCHEMA {collection};

-- name: missing_relations
-- The missing ones of the views and functions that publish.sql creates.
SELECT name FROM unnest(%(views)s::text[]) AS name
WHERE to_regclass(format('%%I.%%I', %(collection)s::text, name)) IS NULL
UNION ALL
SELECT name FROM unnest(%(functions)s::text[]) AS name WHERE NOT EXISTS (
    SELECT FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname = %(collection)s AND p.proname = name
);

-- name: published
SELECT index_id, content, replaced FROM clip_assets.release WHERE release_id = %(release_id)s;
