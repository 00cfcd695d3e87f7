"""Databases that were never migrated."""

import psycopg
import pytest


@pytest.fixture
def empty(database: str) -> str:
    """A database that was never migrated."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP SCHEMA clip_assets CASCADE")
        connection.execute("DROP EXTENSION vector")
    return database
