-- Named statements about who the service may be.

-- name: may_act_as_reader
-- From Postgres 16 on, a member may lack the right to SET ROLE. Another database of the server may have
-- brought the role, which then has no rights in this one.
SELECT pg_has_role(r.oid, CASE
           WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER'
       END)
       AND has_schema_privilege(r.oid, n.oid, 'USAGE')
FROM pg_roles AS r, pg_namespace AS n
WHERE rolname = 'clip_reader' AND nspname = 'clip_assets';

-- name: reader_can_read
SELECT has_schema_privilege(r.oid, n.oid, 'USAGE') FROM pg_roles AS r, pg_namespace AS n
WHERE rolname = 'clip_reader' AND nspname = 'clip_assets';
