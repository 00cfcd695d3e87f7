-- The data that a collection's index is made of: the id in its `data_id.json`, and where it was last.
CREATE TABLE clip_assets.owner (
    collection text PRIMARY KEY,
    data_id    text NOT NULL,
    uri        text NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now()
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'clip_loader') THEN
        REVOKE INSERT, UPDATE, DELETE ON clip_assets.owner FROM clip_loader;
    END IF;
END $$;
