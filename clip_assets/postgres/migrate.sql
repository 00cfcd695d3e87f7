-- Named statements that record which migrations were applied.

-- name: tables_of_migrations
-- Reads the system catalog, which needs no rights on the schema.
SELECT relname FROM pg_catalog.pg_class
WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'clip_assets')
  AND relname IN ('migration', 'applied_schema');

-- name: missing_tables
-- Reads the system catalog, too.
SELECT name FROM unnest(%(tables)s::text[]) WITH ORDINALITY AS wanted (name, number)
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_class
    WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'clip_assets')
      AND relname = name
)
ORDER BY number;

-- name: newest_migration
SELECT max(number) FROM clip_assets.migration;

-- name: lock_migrations
SELECT pg_advisory_xact_lock(%(key)s);

-- name: create_schema
CREATE SCHEMA IF NOT EXISTS clip_assets;

-- name: create_table_of_migrations
CREATE TABLE clip_assets.migration (
    number     int PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: record_migration
INSERT INTO clip_assets.migration (number, name, sha256)
VALUES (%(number)s, %(name)s, %(sha256)s);
