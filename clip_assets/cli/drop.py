"""`clip-assets drop`: all of a collection, from the database, the store and Dagster."""

from collections.abc import Callable
from contextlib import nullcontext

from clip_assets import project
from clip_assets.component.yaml_files import models_in_yaml
from clip_assets.erasure.drop import Belongings, belongings, drop
from clip_assets.errors import SettingsError
from clip_assets.postgres.connect import connect_owner, connect_reader_if_migrated
from clip_assets.settings import Settings
from clip_assets.store.objects import Objects


def drop_collection(
    settings: Settings, collection: str, confirm: Callable[[Belongings], bool], *, dagster: bool
) -> str | None:
    """Drop the collection if `confirm` returns true; returns the URI of the receipt, or None.

    `dagster` says whether a Dagster instance is in use; if so, its record of the collection is
    deleted, too. Raises SettingsError if there is nothing to drop, if a YAML file still defines
    the collection, or if a run is working on it.
    """
    found = project.require()
    if models_in_yaml(found, collection):
        raise SettingsError(
            f"{collection} is still defined in YAML, so it would be created again. First remove "
            f"its folders below {found.defs_folder}."
        )
    if dagster:
        _require_no_run(collection)
    objects = Objects(settings.collection_uri(collection))
    with connect_reader_if_migrated(settings) or nullcontext() as reader:
        had = belongings(reader, objects, collection)
    if not had.lines:
        raise SettingsError(f"There is no data of a collection {collection} to drop.")
    if not confirm(had):
        return None
    with connect_owner(settings) if had.in_database else nullcontext() as connection:
        receipt = drop(connection, objects, Objects(settings.data_uri), had)
    if dagster:
        _forget(collection)
    return receipt


def _require_no_run(collection: str) -> None:
    import dagster as dg

    from clip_assets.dagster_private import unfinished_runs_of

    with dg.DagsterInstance.get() as instance:
        runs = unfinished_runs_of(instance, collection)
    if runs:
        names = ", ".join(run[:8] for run in runs)
        raise SettingsError(
            f"These runs are working on {collection}: {names}. Terminate them first."
        )


def _forget(collection: str) -> None:
    import dagster as dg

    from clip_assets.collection import partitions_name
    from clip_assets.dagster_private import forget_collection

    with dg.DagsterInstance.get() as instance:
        forget_collection(instance, collection, partitions_name(collection))
