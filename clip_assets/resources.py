"""Dagster resource for this installation: data folder and database."""

import dagster as dg
import psycopg

from clip_assets.postgres.connect import connect_owner, connect_reader
from clip_assets.settings import Settings
from clip_assets.store.objects import Objects


class Installation(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The data folder and the database from the settings."""

    def objects(self, collection: str) -> Objects:
        """All objects of one collection."""
        return Objects(Settings().collection_uri(collection))

    def connect(self) -> psycopg.Connection:
        """A connection that can write; migrates the database first."""
        return connect_owner(Settings())

    def connect_reader(self) -> psycopg.Connection:
        """A read-only connection, as search uses it."""
        return connect_reader(Settings())
