-- Renames in what is stored: `report` to `comparison`, and within JSON `beside` to `overlap`, the plan
-- `walk` to `hnsw` and the plan `compare` to `exact`. The view `releases` of a collection still calls
-- its column `report`: a view follows a renamed column and keeps its own names.

ALTER TABLE clip_assets.release RENAME COLUMN report TO comparison;

-- Only keys and plans can match: jsonb prints one space after each colon, and escapes every quote
-- within a string.
CREATE FUNCTION clip_assets.in_new_words(old jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT replace(replace(replace(old::text,
        '"beside": ', '"overlap": '),
        '"plan": "walk"', '"plan": "hnsw"'),
        '"plan": "compare"', '"plan": "exact"')::jsonb
$$;

UPDATE clip_assets.index SET judgement = clip_assets.in_new_words(judgement)
WHERE judgement IS DISTINCT FROM clip_assets.in_new_words(judgement);

UPDATE clip_assets.release
SET judgement = clip_assets.in_new_words(judgement),
    comparison = clip_assets.in_new_words(comparison);

DROP FUNCTION clip_assets.in_new_words;
