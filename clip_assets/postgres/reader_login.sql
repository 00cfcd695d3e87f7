-- Lets clip_reader log in, with limits. A session can override the last three settings, so they only
-- prevent accidents; access itself is limited by the role's rights, which a session cannot change.
ALTER ROLE clip_reader LOGIN CONNECTION LIMIT 64;
ALTER ROLE clip_reader SET default_transaction_read_only = on;
ALTER ROLE clip_reader SET statement_timeout = '60s';
ALTER ROLE clip_reader SET idle_in_transaction_session_timeout = '60s';
