-- Named statements about the roles. clip_reader searches and clip_loader loads shards; neither can log
-- in until an administrator lets it (docs/sql.md). Everything else is up to the schema's owner.

-- name: rights_are_missing
-- Whether this user owns a schema of ours that clip_reader may not use, or could create clip_reader.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_namespace AS n
    WHERE n.nspname IN (SELECT 'clip_assets' UNION SELECT collection FROM clip_assets.live)
      AND pg_catalog.pg_has_role(n.nspowner, 'USAGE')
      AND CASE
          WHEN EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'clip_reader')
          THEN NOT pg_catalog.has_schema_privilege('clip_reader', n.oid, 'USAGE')
          ELSE (SELECT rolsuper OR rolcreaterole FROM pg_catalog.pg_roles
                WHERE rolname = current_user)
      END
);

-- name: existing_roles
SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('clip_reader', 'clip_loader');

-- name: create_role
CREATE ROLE {role} NOLOGIN;

-- name: become
-- From Postgres 16 on, the creator of a role may not act as it until it says so.
GRANT {role} TO CURRENT_USER;

-- name: grant_schema
GRANT USAGE ON SCHEMA clip_assets TO clip_reader, clip_loader;
GRANT SELECT ON ALL TABLES IN SCHEMA clip_assets TO clip_reader, clip_loader;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA clip_assets TO clip_loader;
ALTER DEFAULT PRIVILEGES IN SCHEMA clip_assets GRANT SELECT ON TABLES TO clip_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA clip_assets
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO clip_loader;
REVOKE INSERT, UPDATE, DELETE
    ON clip_assets.index, clip_assets.release, clip_assets.live, clip_assets.migration,
       clip_assets.applied_schema, clip_assets.owner
    FROM clip_loader;
REVOKE ALL ON clip_assets.erased FROM clip_reader; -- it names images that are to be forgotten

-- name: collections_of_ours
SELECT collection FROM clip_assets.live JOIN pg_catalog.pg_namespace ON nspname = collection
WHERE pg_catalog.pg_has_role(nspowner, 'USAGE');

-- name: grant_collection
GRANT USAGE ON SCHEMA {collection} TO clip_reader;

-- name: views_of_collection
-- Not what users keep beside them.
SELECT table_name FROM information_schema.views
WHERE table_schema = %(collection)s
  AND table_name IN ('images', 'embeddings', 'shards', 'releases');

-- name: grant_view
GRANT SELECT ON {collection}.{view} TO clip_reader;
