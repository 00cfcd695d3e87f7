-- Dagster's storage is a database of its own; POSTGRES_DB has the indexes.
CREATE DATABASE dagster;
