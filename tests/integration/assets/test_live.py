"""`photos/live`: the asset that others depend on, whichever model answers."""

from pathlib import Path

import dagster as dg
import psycopg
import pytest

from clip_assets.assets.live import report_live
from clip_assets.assets.release import release_asset
from clip_assets.collection import Collection
from clip_assets.resources import Installation
from clip_assets.search import search
from tests.integration.support import COLLECTION, Made

LIVE = dg.AssetKey([COLLECTION, "live"])


@pytest.fixture
def collection(released: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """The live collection, where the settings look for it."""
    assert released.objects.folder
    released.objects.folder.rename(tmp_path / COLLECTION)
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(tmp_path))
    return Collection(name=COLLECTION, spec=released.model.spec, wanted_recall=0.9)


def _live_events(instance: dg.DagsterInstance) -> list[str]:
    records = instance.fetch_materializations(LIVE, limit=10).records
    found = [record.asset_materialization for record in records]
    return [str(made.metadata["version"].value) for made in found if made]


def test_release_moves_live_once(connection: psycopg.Connection, collection: Collection) -> None:
    """A release reports it with its version; releasing the same content again reports nothing."""
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            done = dg.materialize(
                [release_asset(collection)],
                instance=instance,
                resources={"clip_assets_installation": Installation()},
            )
            assert done.success
        live = search.live(connection, COLLECTION)
        assert _live_events(instance) == [f"{live.id}-{live.content[:12]}"]


def test_who_moves_the_pointer_without_dagster_reports_it(
    connection: psycopg.Connection, collection: Collection
) -> None:
    """Like `clip-assets rollback`; once for each release and content."""
    live = search.live(connection, collection.name)
    with dg.DagsterInstance.ephemeral() as instance:
        report_live(instance, live)
        report_live(instance, live)
        assert len(_live_events(instance)) == 1


def test_a_run_config_that_would_be_ignored_is_refused(collection: Collection) -> None:
    """`release` takes no config, so the launchpad and the API say so."""
    asset = release_asset(collection)
    job = dg.Definitions(
        [asset],
        jobs=[dg.define_asset_job("publish")],
        resources={"clip_assets_installation": Installation()},
    ).resolve_job_def("publish")
    config = {"ops": {asset.op.name: {"config": {"batch_size": 8}}}}
    with pytest.raises(dg.DagsterInvalidConfigError, match="batch_size"):
        job.execute_in_process(run_config=config)
