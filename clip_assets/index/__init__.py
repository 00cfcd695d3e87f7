"""The pgvector index: schema, load, build, judge, release, search. Plain psycopg, no Dagster."""
