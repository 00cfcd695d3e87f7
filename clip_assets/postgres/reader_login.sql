-- Lets clip_reader log in, within bounds: guards against accidents, for a session may lift the
-- last three; what it may not touch, it may not touch however it is set.
ALTER ROLE clip_reader LOGIN CONNECTION LIMIT 64;
ALTER ROLE clip_reader SET default_transaction_read_only = on;
ALTER ROLE clip_reader SET statement_timeout = '60s';
ALTER ROLE clip_reader SET idle_in_transaction_session_timeout = '60s';
