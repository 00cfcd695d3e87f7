"""The SQL statements of this package, by name."""

from clip_assets.postgres.statements import statements

statement = statements("clip_assets.judgements", "statements.sql")
