"""Old runs can be deleted from Dagster's storage without anything becoming missing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from clip_assets.runs.pruning import COLLECTION_TAG, prune

SHARDS = dg.StaticPartitionsDefinition(["00000", "00001"])


@dg.asset(key=["photos", "embeddings"], partitions_def=SHARDS)
def embeddings() -> None: ...


@dg.asset(key=["cats", "catalog"])
def of_another() -> None: ...


@pytest.fixture
def runs(tmp_path: Path) -> "tuple[dg.DagsterInstance, list[str]]":
    """Shard 00000 made twice and 00001 once, then another collection's asset."""
    instance = dg.DagsterInstance.local_temp(str(tmp_path))
    done = [
        dg.materialize(
            [embeddings], instance=instance, partition_key=key, tags={COLLECTION_TAG: "photos"}
        )
        for key in ("00000", "00001", "00000")
    ]
    done.append(dg.materialize([of_another], instance=instance, tags={COLLECTION_TAG: "cats"}))
    return instance, [one.run_id for one in done]


def test_only_what_is_superseded_goes(runs: tuple[dg.DagsterInstance, list[str]]) -> None:
    """The first run of shard 00000 is deleted with its events and files; what is newest stays."""
    instance, ids = runs
    key = dg.AssetKey(["photos", "embeddings"])
    assert prune(instance, "photos", datetime.now(UTC) + timedelta(minutes=1)) == 1
    assert {run.run_id for run in instance.get_runs()} == set(ids[1:])
    assert instance.get_materialized_partitions(key) == {"00000", "00001"}
    assert not list(Path(instance.root_directory).rglob(f"*{ids[0]}*"))
    newest = instance.fetch_materializations(key, limit=10).records
    assert {record.run_id for record in newest} == {ids[1], ids[2]}


def test_runs_that_ended_lately_stay(runs: tuple[dg.DagsterInstance, list[str]]) -> None:
    """However often a shard was made again."""
    instance, ids = runs
    assert prune(instance, "photos", datetime.now(UTC) - timedelta(days=1)) == 0
    assert instance.get_runs_count() == len(ids)
