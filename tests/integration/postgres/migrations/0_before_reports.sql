-- Applied when its text differs from the one last applied; every statement may run again.

CREATE EXTENSION IF NOT EXISTS vector;

CREATE SCHEMA IF NOT EXISTS clip_assets;

CREATE TABLE IF NOT EXISTS clip_assets.applied_schema (sha256 text PRIMARY KEY);

-- One table of vectors and one HNSW for each model of a collection.
CREATE TABLE IF NOT EXISTS clip_assets.index (
    index_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection   text NOT NULL,
    slug         text NOT NULL,
    identity_key text NOT NULL,
    identity     jsonb NOT NULL,
    spec         jsonb NOT NULL,
    dim          int NOT NULL,
    judgement    jsonb,
    UNIQUE (collection, slug, identity_key)
);

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

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'clip_reader') THEN
        CREATE ROLE clip_reader NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another process made it meanwhile
END $$;

GRANT USAGE ON SCHEMA clip_assets TO clip_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA clip_assets TO clip_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA clip_assets GRANT SELECT ON TABLES TO clip_reader;
