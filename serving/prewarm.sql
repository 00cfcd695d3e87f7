-- Named statements that read a graph into Postgres' memory.

-- name: graph
-- No row if the extension pg_prewarm is missing. Schemas of providers differ. Only an extension's function
-- counts: anybody who may create a schema could put one of that name there, for the service to run.
SELECT format('%%I.%%I', n.nspname, p.proname) AS function,
       pg_relation_size(c.oid) / current_setting('block_size')::int AS blocks,
       pg_relation_size(c.oid) <= pg_size_bytes(current_setting('shared_buffers')) AS fits
FROM pg_class AS c, pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE c.oid = to_regclass(%(hnsw)s) AND p.proname = 'pg_prewarm'
  AND EXISTS (SELECT FROM pg_depend AS d
              WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
  AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE');

-- name: read
SELECT {function}(%(hnsw)s::text::regclass, %(mode)s, 'main', %(first)s, %(last)s);
