-- The SET clauses, and changes to those settings in the body, end with the function.
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
    {sound}
    IF filtered AND {few_match} THEN
        RETURN QUERY
        {exact};
    ELSE
        PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
                {deepened};
        RETURN QUERY
        {hnsw};
    END IF;
END
$$;
