-- Each index is a table of vectors with an HNSW, for one model of a collection. A model may have
-- several indexes of one vector type: shards are loaded into the newest.
CREATE TABLE clip_assets.index (
    index_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection   text NOT NULL,
    slug         text NOT NULL,
    identity_key text NOT NULL,
    identity     jsonb NOT NULL,
    spec         jsonb NOT NULL,
    dim          int NOT NULL,
    judgement    jsonb,
    vector_type  text NOT NULL DEFAULT 'halfvec'
);

-- What is loaded: one row per shard, written in the transaction that loads the shard.
CREATE TABLE clip_assets.ledger (
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

-- `report` compares the judgement with that of the previous release. Once the index's table is
-- dropped, at `dropped_at`, no rollback can return to the release.
CREATE TABLE clip_assets.release (
    release_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection   text NOT NULL,
    index_id     bigint NOT NULL REFERENCES clip_assets.index,
    content      text NOT NULL,
    ef_search    int NOT NULL,
    rows         bigint NOT NULL,
    judgement    jsonb NOT NULL,
    run_id       text NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now(),
    report       jsonb,
    dropped_at   timestamptz
);

-- The pointer: the release that answers for a collection.
CREATE TABLE clip_assets.live (
    collection text PRIMARY KEY,
    release_id bigint NOT NULL REFERENCES clip_assets.release
);

-- Thumbnails by content hash, shared by all models and collections.
CREATE TABLE clip_assets.thumbnail (
    sha256 text PRIMARY KEY,
    webp   bytea NOT NULL
);
ALTER TABLE clip_assets.thumbnail ALTER COLUMN webp SET STORAGE EXTERNAL;

-- Erased images, which must not come back, with the indexes that had a row for them.
CREATE TABLE clip_assets.erased (
    collection    text NOT NULL,
    image_id      text NOT NULL,
    sha256        text,
    erasure       text NOT NULL,
    copy_of_asked boolean NOT NULL,
    index_ids     bigint[] NOT NULL DEFAULT '{}',
    erased_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (collection, image_id)
);
