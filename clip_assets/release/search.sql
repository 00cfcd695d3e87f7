-- Relaxed order is only nearly sorted, but the planner treats it as sorted; `distance + 0` forces a sort.
-- The SET clauses, and changes to those settings in the body, end with the function.
-- The query is cast to the column's type; otherwise Postgres would cast a vector column to halfvec, and
-- could not use the HNSW.
CREATE OR REPLACE FUNCTION {collection}.search(
    query {halfvec}, {declared}k int DEFAULT 10, shards text[] DEFAULT NULL, uri_prefix text DEFAULT NULL,
    words text DEFAULT NULL, min_width int DEFAULT NULL, max_width int DEFAULT NULL,
    min_height int DEFAULT NULL, max_height int DEFAULT NULL
)
RETURNS TABLE (image_id text, score double precision, caption text, uri text, sha256 text,
               shard text)
LANGUAGE plpgsql STABLE
{search_settings}
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = on
SET timezone = 'UTC'
SET enable_sort = on
AS $$
#variable_conflict use_column
DECLARE
    filtered boolean := num_nonnulls(
        {filters}) > 0;
    {variables}
BEGIN
    {required}
    IF query IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'search: the argument "query" is NULL',
            HINT = 'If a subquery gives the vector: no image has the id that it asks for.';
    ELSIF k IS NULL OR k < 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'search: the argument "k" must be at least 1';
    END IF;
    IF filtered AND (
        SELECT count(*) FROM (
            SELECT FROM clip_assets.{table} WHERE {filter} LIMIT {exact_rows} + 1
        ) AS matching
    ) <= {exact_rows} THEN
        -- Few match: all of them are compared. The sum is no order that the HNSW knows.
        RETURN QUERY
        SELECT near.image_id, 1 - near.distance, near.caption, near.uri, near.sha256, near.shard
        FROM (SELECT *, (embedding {distance} query::{vector_type}) + 0 AS distance FROM clip_assets.{table}
              WHERE {filter}) AS near
        ORDER BY near.distance + 0, near.image_id LIMIT k;
    ELSE
        PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
        RETURN QUERY
        SELECT near.image_id, 1 - near.distance, near.caption, near.uri, near.sha256, near.shard
        FROM (SELECT *, embedding {distance} query::{vector_type} AS distance FROM clip_assets.{table}
              WHERE {filter} ORDER BY embedding {distance} query::{vector_type}
              LIMIT CASE WHEN filtered THEN k * {overfetch} ELSE k + {spare} END) AS near
        ORDER BY near.distance + 0, near.image_id LIMIT k;
    END IF;
END
$$;
