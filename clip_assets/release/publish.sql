-- The views and functions over the live release, in the collection's schema.
-- Runs in the transaction that moves the pointer. Vectors are always halfvec without a dimension here,
-- whatever the index stores: the types of columns and arguments stay the same when the model or its
-- `vector_type` changes, so users' own views and queries keep working after a release.

CREATE OR REPLACE VIEW {collection}.images AS
SELECT t.image_id, t.caption, t.uri, t.sha256, t.width, t.height, t.shard, t.row,
       t.embedding::{halfvec} AS embedding,
       l.version AS shard_version, l.run_id, l.job_id, l.device, l.loaded_at,
       {release_id}::bigint AS release_id, {model}::text AS model,
       {columns} AS columns
FROM clip_assets.{table} AS t
JOIN clip_assets.ledger AS l ON l.index_id = {index_id} AND l.shard = t.shard;

CREATE OR REPLACE VIEW {collection}.embeddings AS
SELECT image_id, embedding, shard, row, release_id, model FROM {collection}.images;

-- The commits and jobs that the live release's rows come from.
CREATE OR REPLACE VIEW {collection}.shards AS
SELECT shard, version, rows, rejected, commit_path, digest, run_id, job_id, device, loaded_at
FROM clip_assets.ledger WHERE index_id = {index_id};

-- The comparison column keeps its old name, `report`: CREATE OR REPLACE cannot rename a view's column, and
-- dropping the view would drop the views that users have built on it.
CREATE OR REPLACE VIEW {collection}.releases AS
SELECT r.release_id, r.release_id = l.release_id AS live, i.identity->>'name' AS model,
       r.rows, r.ef_search, r.run_id, r.published_at, r.dropped_at, r.judgement,
       r.comparison AS report, i.vector_type, r.replaced, r.taken_back_at
FROM clip_assets.release AS r
JOIN clip_assets.index AS i USING (index_id)
JOIN clip_assets.live AS l ON l.collection = r.collection
WHERE r.collection = {collection_name}::text;

-- The version without filters; with both versions in place, calls would be ambiguous.
DROP FUNCTION IF EXISTS {collection}.search({halfvec}, int);

{search}

{search_columns}

{search_where}

-- Reads the table directly instead of calling `search`, which a release of another model may replace
-- while the statement runs.
CREATE OR REPLACE FUNCTION {collection}.similar(to_image text, k int DEFAULT 10)
RETURNS TABLE (image_id text, score double precision, caption text, uri text, sha256 text,
               shard text)
LANGUAGE plpgsql STABLE
{search_settings}
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    origin {vector_type};
BEGIN
    IF to_image IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'similar: the argument "to_image" is NULL';
    ELSIF k IS NULL OR k < 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'similar: the argument "k" must be at least 1';
    END IF;
    PERFORM {deepened};
    SELECT embedding INTO origin FROM clip_assets.{table} WHERE image_id = to_image;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT near.image_id, 1 - near.distance, near.caption, near.uri, near.sha256, near.shard
    FROM (SELECT *, embedding {distance} origin AS distance FROM clip_assets.{table}
          ORDER BY embedding {distance} origin LIMIT k + 1 + {spare}) AS near
    WHERE near.image_id <> to_image
    ORDER BY near.distance + 0, near.image_id
    LIMIT k;
END
$$;
