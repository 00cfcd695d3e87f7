-- clip_reader searches and clip_loader loads shards; neither can log in until an administrator lets
-- it (docs/sql.md). Everything else is up to the role that migrates, which owns the schema.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['clip_reader', 'clip_loader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- created meanwhile: roles are shared by all databases of a server
            END;
        END IF;
    END LOOP;
END $$;

GRANT USAGE ON SCHEMA clip_assets TO clip_reader, clip_loader;
GRANT SELECT ON ALL TABLES IN SCHEMA clip_assets TO clip_reader, clip_loader;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA clip_assets TO clip_loader;
ALTER DEFAULT PRIVILEGES IN SCHEMA clip_assets GRANT SELECT ON TABLES TO clip_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA clip_assets
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO clip_loader;
REVOKE INSERT, UPDATE, DELETE
    ON clip_assets.index, clip_assets.release, clip_assets.live, clip_assets.migration
    FROM clip_loader;
REVOKE ALL ON clip_assets.erased FROM clip_reader; -- it names images that are to be forgotten
