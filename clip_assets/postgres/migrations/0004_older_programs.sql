-- Programs from before migrations were numbered apply their own schema to any database that was not
-- last set up by it, and record that in this table. Refusing the record rolls all of it back.
CREATE TABLE IF NOT EXISTS clip_assets.applied_schema (sha256 text PRIMARY KEY);
DELETE FROM clip_assets.applied_schema;

CREATE FUNCTION clip_assets.refuse_older_program() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE 'a newer version of clip_assets has migrated this database: upgrade clip_assets';
END
$$;

CREATE TRIGGER refuse_older_program
BEFORE INSERT OR UPDATE OR DELETE ON clip_assets.applied_schema
FOR EACH STATEMENT EXECUTE FUNCTION clip_assets.refuse_older_program();
