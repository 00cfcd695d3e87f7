-- Named statements about the SQL schema of a collection's name.

-- name: schema
-- Everything in a schema depends on it, and so do default privileges, which are not objects.
SELECT EXISTS (SELECT FROM clip_assets.release WHERE collection = %(collection)s) AS released,
       EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass
               AND refobjid = n.oid AND classid <> 'pg_default_acl'::regclass) AS used,
       CASE WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege(n.oid, 'CREATE') END AS may_create
FROM (SELECT %(collection)s::text AS name) AS asked
LEFT JOIN pg_namespace AS n ON n.nspname = asked.name;
