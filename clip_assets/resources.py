"""Dagster resource for this installation: its data folder and its database."""

import dagster as dg
import psycopg

from clip_assets.postgres.connect import connect_owner
from clip_assets.settings import Settings
from clip_assets.store.objects import Objects


class Installation(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The data folder and the database that the settings name."""

    def objects(self, collection: str) -> Objects:
        """All objects of one collection."""
        return Objects(Settings().collection_uri(collection))

    def connect(self) -> psycopg.Connection:
        """A connection that may write, to a database with the current schema."""
        return connect_owner(Settings())
