"""Dagster resources that every collection brings: data folder, database, local jobs."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import dagster as dg
import psycopg

from clip_assets.compute.local import LocalEmbedClient
from clip_assets.postgres.connect import connect_owner, connect_reader
from clip_assets.settings import Settings
from clip_assets.store.objects import Objects


class Installation(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The data folder and the database from the settings.

    `project` is the folder of the Dagster project; a run need not start in it.
    """

    project: str | None = None

    @property
    def settings(self) -> Settings:
        return Settings(Path(self.project) if self.project else None)

    def objects(self, collection: str) -> Objects:
        """All objects of one collection."""
        return Objects(self.settings.collection_uri(collection))

    def connect(self) -> psycopg.Connection:
        """A connection that can write; migrates the database first."""
        return connect_owner(self.settings)

    def connect_reader(self) -> psycopg.Connection:
        """A read-only connection, as search uses it."""
        return connect_reader(self.settings)


@cache  # collections may only be merged if they bring the very same objects
def resources_of(project: Path) -> Mapping[str, object]:
    """The resources of all collections in that project; the prefix avoids clashes of names.

    Raises SettingsError if the deployment's machines could not all reach the data.
    """
    installation = Installation(project=str(project))
    installation.settings.require_reachable()
    return {
        "clip_assets_installation": installation,
        "clip_assets_compute": LocalEmbedClient(project=str(project)),
    }
