-- Upgrades any schema from before numbered migrations to the one that 0001 creates.

-- The oldest schemas have one index per model, always of type halfvec.
ALTER TABLE clip_assets.index
    ADD COLUMN IF NOT EXISTS vector_type text NOT NULL DEFAULT 'halfvec',
    DROP CONSTRAINT IF EXISTS index_collection_slug_identity_key_key;
DROP INDEX IF EXISTS clip_assets.index_of_model_and_vector_type;

ALTER TABLE clip_assets.release
    ADD COLUMN IF NOT EXISTS report jsonb,
    ADD COLUMN IF NOT EXISTS dropped_at timestamptz;

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
