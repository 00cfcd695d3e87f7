-- Applied when its text differs from the one last applied; every statement may run again.

CREATE EXTENSION IF NOT EXISTS vector;

CREATE SCHEMA IF NOT EXISTS clip_assets;

CREATE TABLE IF NOT EXISTS clip_assets.applied_schema (sha256 text PRIMARY KEY);

-- One table of vectors and one HNSW each, of one model of a collection; of the indexes of a model
-- whose columns are of one type the newest is loaded into.
CREATE TABLE IF NOT EXISTS clip_assets.index (
    index_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection   text NOT NULL,
    slug         text NOT NULL,
    identity_key text NOT NULL,
    identity     jsonb NOT NULL,
    spec         jsonb NOT NULL,
    dim          int NOT NULL,
    judgement    jsonb
);

-- Before there was a choice, every index was of halfvec, and one of a model was all there could be.
ALTER TABLE clip_assets.index
    ADD COLUMN IF NOT EXISTS vector_type text NOT NULL DEFAULT 'halfvec',
    DROP CONSTRAINT IF EXISTS index_collection_slug_identity_key_key;
DROP INDEX IF EXISTS clip_assets.index_of_model_and_vector_type;

-- What is loaded: one row a shard, written in the transaction that loads it.
CREATE TABLE IF NOT EXISTS clip_assets.ledger (
    index_id    bigint NOT NULL REFERENCES clip_assets.index,
    shard       text NOT NULL,
    version     int NOT NULL,
    digest      text NOT NULL,
    commit_path text NOT NULL,
    rows        bigint NOT NULL,
    rejected    bigint NOT NULL,
    checksum    bigint NOT NULL,
    run_id      text NOT NULL,
    job_id      text NOT NULL,
    device      text NOT NULL,
    loaded_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (index_id, shard)
);

CREATE TABLE IF NOT EXISTS clip_assets.release (
    release_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection   text NOT NULL,
    index_id     bigint NOT NULL REFERENCES clip_assets.index,
    content      text NOT NULL,
    ef_search    int NOT NULL,
    rows         bigint NOT NULL,
    judgement    jsonb NOT NULL,
    run_id       text NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now()
);

-- `report` is the judgement beside that of the release before; `dropped_at` says since when its
-- index is gone, and nothing can go back to it.
ALTER TABLE clip_assets.release ADD COLUMN IF NOT EXISTS report jsonb;
ALTER TABLE clip_assets.release ADD COLUMN IF NOT EXISTS dropped_at timestamptz;

-- The pointer: which release answers for a collection.
CREATE TABLE IF NOT EXISTS clip_assets.live (
    collection text PRIMARY KEY,
    release_id bigint NOT NULL REFERENCES clip_assets.release
);

-- Small pictures by content hash, shared by all models and collections.
CREATE TABLE IF NOT EXISTS clip_assets.thumbnail (
    sha256 text PRIMARY KEY,
    webp   bytea NOT NULL
);
ALTER TABLE clip_assets.thumbnail ALTER COLUMN webp SET STORAGE EXTERNAL;

-- Images that must not come back, with the indexes that had a row of them.
CREATE TABLE IF NOT EXISTS clip_assets.erased (
    collection    text NOT NULL,
    image_id      text NOT NULL,
    sha256        text,
    erasure       text NOT NULL,
    copy_of_asked boolean NOT NULL,
    index_ids     bigint[] NOT NULL DEFAULT '{}',
    erased_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (collection, image_id)
);

-- clip_reader asks, clip_loader loads shards, and whoever applies this file owns the rest: makes
-- tables, builds and publishes. They are made without the right to log in; see docs/sql.md.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['clip_reader', 'clip_loader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- another process made it meanwhile
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
REVOKE INSERT, UPDATE, DELETE ON clip_assets.index, clip_assets.release, clip_assets.live,
    clip_assets.applied_schema FROM clip_loader;
REVOKE ALL ON clip_assets.erased FROM clip_reader; -- names of what was to be forgotten
