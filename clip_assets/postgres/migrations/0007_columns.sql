-- The columns that a collection declares, as an index has them: the type of each by its name, in the order
-- of their declaration.
ALTER TABLE clip_assets.index ADD COLUMN columns json NOT NULL DEFAULT '{}';
