-- The data that a collection's index is made of: the id in its `data_id.json`, and where it was last.
CREATE TABLE clip_assets.owner (
    collection text PRIMARY KEY,
    data_id    text NOT NULL,
    uri        text NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now()
);
