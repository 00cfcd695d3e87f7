-- The filter as an SQL condition, with the same meaning as in the HTTP API. Every value in it is quoted,
-- and Postgres removes the conditions of fields that are not given.
CREATE OR REPLACE FUNCTION {collection}.condition(filter jsonb) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    columns jsonb := nullif(filter->'columns', 'null');
    shards text[] := CASE WHEN filter->>'shards' IS NOT NULL THEN
        ARRAY(SELECT jsonb_array_elements_text(filter->'shards')) END;
    found text[];
    {variables}
BEGIN
    IF jsonb_typeof(filter) IS DISTINCT FROM 'object' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'search_where: a filter must be a JSON object, such as {{"min_width": 800}}';
    ELSIF EXISTS (
        SELECT FROM jsonb_object_keys(filter) AS given WHERE given <> ALL ({fields}::text[])
    ) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'search_where: a filter has a part that is not known',
            HINT = 'The parts: ' || array_to_string({fields}::text[], ', ');
    END IF;
    {required}
    found := ARRAY[format(
        {built_in},
        {built_in_values}
    )];
    {column_conditions}
    IF filter->>'all' IS NOT NULL THEN
        found := found || ARRAY(
            SELECT {collection}.condition(part) FROM jsonb_array_elements(filter->'all') AS part);
    END IF;
    IF filter->>'any' IS NOT NULL THEN
        found := found || coalesce(
            (SELECT string_agg({collection}.condition(part), ' OR ')
             FROM jsonb_array_elements(filter->'any') AS part), 'false');
    END IF;
    IF filter->>'not' IS NOT NULL THEN
        found := found || (({collection}.condition(filter->'not')) || ' IS NOT TRUE');
    END IF;
    RETURN '((' || array_to_string(found, ') AND (') || '))';
END
$$;

CREATE OR REPLACE FUNCTION {collection}.search_where(query {halfvec}, filter jsonb, k int DEFAULT 10)
RETURNS TABLE (image_id text, score double precision, caption text, uri text, sha256 text,
               shard text)
LANGUAGE plpgsql STABLE
{search_settings}
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = on
SET enable_sort = on
AS $$
DECLARE
    matching text := {collection}.condition(filter);
    few boolean;
BEGIN
    {sound}
    EXECUTE format({few_match}, matching) INTO few;
    IF few THEN
        RETURN QUERY EXECUTE format({exact}, matching) USING query, k;
    ELSE
        PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
                {deepened};
        RETURN QUERY EXECUTE format({hnsw}, matching) USING query, k;
    END IF;
END
$$;
