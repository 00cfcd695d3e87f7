"""Postgres with pgvector: connections, the embedded server, the schema."""
