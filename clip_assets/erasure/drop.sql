-- Named statements. {names} are identifiers that this program creates; %(names)s are bound values.

-- name: indexes
SELECT index_id FROM clip_assets.index WHERE collection = %(collection)s ORDER BY index_id;

-- name: releases
SELECT count(*) FROM clip_assets.release WHERE collection = %(collection)s;

-- name: relations
SELECT format('%%I.%%I', n.nspname, c.relname)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %(collection)s AND c.relkind IN ('r', 'v', 'm', 'f', 'p');

-- name: drop_schema
-- With what users made in it, which is in the list that they saw.
DROP SCHEMA IF EXISTS {collection} CASCADE;

-- name: outside
-- Views in other schemas that read the collection's, which a cascade would drop unseen.
SELECT DISTINCT format('%%I.%%I', n.nspname, c.relname)
FROM pg_depend AS d
    JOIN pg_rewrite AS r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_class AS c ON c.oid = r.ev_class
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_class AS used ON used.oid = d.refobjid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_namespace AS ours ON ours.oid = used.relnamespace
WHERE ours.nspname = %(collection)s AND n.nspname <> %(collection)s;

-- name: forget_live
DELETE FROM clip_assets.live WHERE collection = %(collection)s;

-- name: forget_releases
DELETE FROM clip_assets.release WHERE collection = %(collection)s;

-- name: forget_indexes
DELETE FROM clip_assets.index WHERE collection = %(collection)s;

-- name: forget_erased
DELETE FROM clip_assets.erased WHERE collection = %(collection)s;

-- name: forget_owner
DELETE FROM clip_assets.owner WHERE collection = %(collection)s;
