-- How the SQL functions read their arguments. {names} are identifiers and literals.

-- name: variables
-- The parts of the argument `columns` that concern one column. A time with a zone is converted, because
-- the function's time zone is UTC.
{any} {type}[] := CASE jsonb_typeof(columns->{column})
    WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(columns->{column}))::{given}[]::{type}[]
    WHEN 'string' THEN ARRAY[columns->>{column}]::{given}[]::{type}[]
    WHEN 'number' THEN ARRAY[columns->>{column}]::{given}[]::{type}[]
    WHEN 'boolean' THEN ARRAY[columns->>{column}]::{given}[]::{type}[]
END;
{min} {type} := (columns->{column}->>'min')::{given}::{type};
{max} {type} := (columns->{column}->>'max')::{given}::{type};
{unknown} boolean := nullif(jsonb_typeof(columns->{column}) = 'null', false);

-- name: required
IF EXISTS (SELECT FROM jsonb_object_keys(columns) AS given WHERE given <> ALL ({names}::text[])) THEN
    RAISE undefined_column USING
        MESSAGE = 'search: "columns" names a column that is not declared',
        HINT = 'The declared columns: ' || {declared};
ELSIF EXISTS (
    SELECT FROM jsonb_each(columns) AS given (name, wanted)
    CROSS JOIN jsonb_object_keys(
        CASE jsonb_typeof(wanted) WHEN 'object' THEN wanted ELSE '{{}}' END) AS part
    WHERE part NOT IN ('min', 'max')
) THEN
    RAISE invalid_parameter_value USING
        MESSAGE = 'search: a range of "columns" has "min", "max" or both, and nothing else';
END IF;

-- name: condition
IF columns ? {column} THEN
    found := found || format({condition}, {any}, {min}, {max}, {unknown});
END IF;

-- name: sound
IF query IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'search: the argument "query" is NULL',
        HINT = 'If a subquery gives the vector: no image has the id that it asks for.';
ELSIF k IS NULL OR k < 1 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'search: the argument "k" must be at least 1';
END IF;
