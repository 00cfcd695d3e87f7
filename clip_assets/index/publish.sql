-- What an analyst sees of a collection: its schema's views and functions, over the live release.
-- Runs in the transaction that moves the pointer. {{dim}}-less halfvec keeps the view's columns the same
-- when the model changes, so views and queries of the users' own survive a release.

CREATE SCHEMA IF NOT EXISTS {collection};

CREATE OR REPLACE VIEW {collection}.images AS
SELECT t.image_id, t.caption, t.uri, t.sha256, t.width, t.height, t.shard, t.row,
       t.embedding::halfvec AS embedding,
       l.version AS shard_version, l.run_id, l.job_id, l.device, l.loaded_at,
       {release_id}::bigint AS release_id, {model}::text AS model
FROM clip_assets.{table} AS t
JOIN clip_assets.ledger AS l ON l.index_id = {index_id} AND l.shard = t.shard;

CREATE OR REPLACE FUNCTION {collection}.search(query halfvec, k int DEFAULT 10)
RETURNS TABLE (image_id text, score double precision, caption text, uri text, sha256 text,
               shard text)
LANGUAGE sql STABLE
SET hnsw.ef_search = {ef_search}
SET hnsw.iterative_scan = relaxed_order
AS $$
    SELECT image_id, 1 - distance, caption, uri, sha256, shard
    FROM (SELECT *, embedding <=> query AS distance FROM clip_assets.{table}
          ORDER BY embedding <=> query LIMIT k) AS nearest
    ORDER BY distance, image_id
$$;

-- It names the table twice instead of calling `search`, which may be replaced in mid-statement by
-- that of a release of another model.
CREATE OR REPLACE FUNCTION {collection}.similar(to_image text, k int DEFAULT 10)
RETURNS TABLE (image_id text, score double precision, caption text, uri text, sha256 text,
               shard text)
LANGUAGE sql STABLE
SET hnsw.ef_search = {ef_search}
SET hnsw.iterative_scan = relaxed_order
AS $$
    SELECT near.image_id, 1 - near.distance, near.caption, near.uri, near.sha256, near.shard
    FROM clip_assets.{table} AS origin,
         LATERAL (SELECT *, embedding <=> origin.embedding AS distance FROM clip_assets.{table}
                  ORDER BY embedding <=> origin.embedding LIMIT k + 1) AS near
    WHERE origin.image_id = to_image AND near.image_id <> to_image
    ORDER BY near.distance, near.image_id
    LIMIT k
$$;

GRANT USAGE ON SCHEMA {collection} TO clip_reader;
GRANT SELECT ON {collection}.images TO clip_reader;
