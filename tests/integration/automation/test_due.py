"""What sensor, schedule and checks say of a collection, on a real instance and database.

The vectors are made up; nothing here needs a model.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from clip_assets.automation.jobs import Jobs, jobs_of
from clip_assets.automation.schedules import reconcile_schedule
from clip_assets.automation.sensors import missing_shards_sensor
from clip_assets.catalog import Catalog, Shard
from clip_assets.checks.oldest_shard import oldest_shard_check
from clip_assets.component.image_collection import ImageCollection
from clip_assets.resources import Installation
from clip_assets.settings import Settings
from clip_assets.source.config import FolderConfig
from clip_assets.store import commit as commits
from clip_assets.store import paths, verified
from clip_assets.store.objects import Objects
from tests.dagster_private import freeze_time, in_process_location
from tests.integration.support import Made, Model, publish

_LOCATION = """
import dagster as dg

from clip_assets.component.image_collection import ImageCollection
from tests.integration.support import Model

collection = ImageCollection(
    name="photos", spec=Model().spec, shards_per_run=3, reconcile_cron="*/20 * * * *"
)
defs = collection.build_defs(dg.ComponentTree.for_test().load_context)
"""
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@dataclass(frozen=True)
class Kept:
    """A collection with a catalog, some commits and a Dagster instance."""

    made: Made
    collection: ImageCollection
    instance: dg.DagsterInstance
    database: str

    @property
    def jobs(self) -> Jobs:
        return jobs_of(self.collection)

    def catalog(self, shards: int, listing: str = "first") -> None:
        """A head that lists so many shards; those committed are of the commits' version."""
        newest = {
            shard: commits.read_path(self.made.objects, path)
            for shard, path in commits.newest(self.made.objects, self.collection.spec.slug).items()
        }
        keys = [f"{number:05d}" for number in range(shards)]
        head = Catalog(
            collection="photos",
            source=FolderConfig(uri="/nowhere"),
            listing=listing,
            shards=tuple(
                Shard(
                    shard=key,
                    version=newest[key].version if key in newest else 1,
                    digest=newest[key].catalog_digest if key in newest else "d" * 64,
                    rows=5,
                    live=5,
                )
                for key in keys
            ),
        )
        self.made.objects.put(paths.CATALOG, head.model_dump_json().encode())
        self.instance.add_dynamic_partitions(self.collection.partitions_name, keys)

    def publish(self) -> None:
        with psycopg.connect(self.database, autocommit=True) as connection:
            publish(connection, self.made)

    def verified_before(self, days: float, *shards: str) -> None:
        """Record that the shards' files were last verified so long ago."""
        slug = self.collection.spec.slug
        newest = commits.newest(self.made.objects, slug)
        paths_of = [newest[shard] for shard in shards]
        verified.record(self.made.objects, slug, paths_of, time.time() - 86_400 * days, newest)

    def tick(self, cursor: str | None = None) -> tuple[list[tuple[str, str]], str]:
        """The ranges that the sensor asks for, and why it asks for none."""
        context = dg.build_sensor_context(self.instance, cursor, resources=_resources())
        data = missing_shards_sensor(self.collection, self.jobs.embed).evaluate_tick(context)
        return _ranges(data.run_requests), data.skip_message or ""

    def reconcile(self) -> list[tuple[str, str]]:
        context = dg.build_schedule_context(
            self.instance,
            instance_ref=self.instance.get_ref(),
            scheduled_execution_time=datetime.now(UTC),
            resources=_resources(),
        )
        schedule = reconcile_schedule(self.collection, self.jobs.embed)
        return _ranges(schedule.evaluate_tick(context).run_requests)

    def oldest(self) -> dg.AssetCheckResult:
        context = dg.build_asset_check_context(instance=self.instance, resources=_resources())
        result = oldest_shard_check(self.collection)(context)
        assert isinstance(result, dg.AssetCheckResult)
        return result

    def materialize_index(self, *, checks_only: bool = False) -> dg.ExecuteInProcessResult:
        checks = dg.AssetSelection.checks_for_assets(self.collection.search_index_key)
        chosen = (
            checks if checks_only else dg.AssetSelection.assets(self.collection.search_index_key)
        )
        defs = dg.Definitions.merge(
            self.collection.build_defs(dg.ComponentTree.for_test().load_context),
            dg.Definitions(jobs=[dg.define_asset_job("index", chosen)]),
        )
        job = defs.resolve_job_def("index")
        return job.execute_in_process(instance=self.instance, raise_on_error=False)


def _resources() -> dict[str, object]:
    return {"clip_assets_installation": Installation()}


def _ranges(requests: list[dg.RunRequest] | None) -> list[tuple[str, str]]:
    return [(request.tags[RANGE[0]], request.tags[RANGE[1]]) for request in requests or []]


@pytest.fixture
def kept(database: str, tmp_path: Path) -> Iterator[Kept]:
    collection = ImageCollection(
        name="photos",
        source=FolderConfig(uri="/nowhere"),
        spec=Model().spec,
        shards_per_run=3,
        wanted_recall=0.5,
    )
    made = Made(Objects(Settings().collection_uri("photos")))
    (tmp_path / "dagster").mkdir()
    queue = {"run_coordinator": {"module": "dagster", "class": "QueuedRunCoordinator"}}
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), queue) as instance:
        yield Kept(made, collection, instance, database)


def test_nothing_is_asked_for_before_a_first_release(kept: Kept) -> None:
    """Missing shards of a model that is not live start no run: the sensor says what to do."""
    kept.made.add("00000", 5)
    kept.catalog(3)
    assert kept.tick() == (
        [],
        "2 shards need a manual run: this model as halfvec is not live, or was rolled back. "
        "Backfill them, then materialize `search_index` and `release`.",
    )


@pytest.mark.promise("New images become searchable without manual work")
def test_missing_shards_are_asked_for_in_runs_of_neighbours(kept: Kept) -> None:
    """Once the model is live, missing shards are split into runs at gaps and by shards_per_run."""
    for shard in ("00000", "00004"):
        kept.made.add(shard, 5)
    kept.publish()
    kept.catalog(9)
    ranges, _ = kept.tick()
    assert ranges == [("00001", "00003"), ("00005", "00007"), ("00008", "00008")]


def test_sensor_reads_no_listing_while_the_catalog_stays(kept: Kept) -> None:
    """When everything is embedded, it remembers the listing and sends no request to the store."""
    kept.made.add("00000", 5)
    kept.publish()
    kept.catalog(1)
    assert kept.tick() == ([], "Every shard is embedded.")
    assert kept.tick(cursor="first") == (
        [],
        "The catalog has not changed since every shard was embedded.",
    )
    kept.catalog(2, listing="second")
    assert kept.tick(cursor="first")[0] == [("00001", "00001")]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS])
def test_sensor_waits_for_runs_of_others(kept: Kept, status: dg.DagsterRunStatus) -> None:
    """The sensor requests nothing while a command-line backfill works or is between two runs."""
    kept.made.add("00000", 5)
    kept.publish()
    kept.catalog(2)
    run = dg.DagsterRun(
        job_name="by_hand",
        status=status,
        asset_selection=frozenset({kept.collection.embeddings_key}),
    )
    kept.instance.add_run(run)
    ranges, why = kept.tick()
    assert ranges == []
    assert run.run_id[:8] in why


def test_reconcile_takes_missing_shards_or_else_the_oldest(kept: Kept) -> None:
    """Each day it requests the missing shards or, if there are none, one shard."""
    for number in range(5):
        kept.made.add(f"{number:05d}", 5)
    kept.verified_before(1, "00000", "00001", "00002", "00004")
    kept.verified_before(20, "00003")
    kept.publish()
    kept.catalog(5)
    assert kept.reconcile() == [("00003", "00003")]
    kept.catalog(7)
    assert kept.reconcile() == [("00005", "00006")]


def test_a_daemon_that_was_down_catches_up_and_does_nothing_twice(
    kept: Kept, tmp_path: Path
) -> None:
    """After an hour without it: one run for each range of shards that the catalogs and the missed
    ticks of the schedule ask for, and none while these are queued or after they are done."""
    (tmp_path / "defs.py").write_text(_LOCATION)
    kept.made.add("00000", 5)
    kept.publish()
    kept.catalog(1)
    # The collection asks the real clock, so all of this is before now.
    began = datetime.now(UTC) - timedelta(hours=3)
    with in_process_location(kept.instance, tmp_path / "defs.py") as daemon:
        with freeze_time(began):
            daemon.look()
        assert _queued(kept) == []

    for listing, shards in (("second", 3), ("third", 6)):  # while the daemon is down
        kept.catalog(shards, listing)

    with in_process_location(kept.instance, tmp_path / "defs.py") as daemon:
        for seconds in (0, 40, 80):
            with freeze_time(began + timedelta(hours=1, seconds=seconds)):
                daemon.look()
            assert _queued(kept) == [("00001", "00003"), ("00004", "00005")]
        for run in kept.instance.get_runs():
            kept.instance.report_run_failed(run)  # it ended; what it made is there
        for number in range(1, 6):
            kept.made.add(f"{number:05d}", 5)
        kept.catalog(6, "third")
        with freeze_time(began + timedelta(hours=1, minutes=5)):
            daemon.look()
        assert _queued(kept) == []


def _queued(kept: Kept) -> list[tuple[str, str]]:
    queued = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
    return sorted((r.tags[RANGE[0]], r.tags[RANGE[1]]) for r in kept.instance.get_runs(queued))


@pytest.mark.parametrize(
    ("days", "passed", "severity"),
    [
        (10, True, dg.AssetCheckSeverity.WARN),
        (25, False, dg.AssetCheckSeverity.WARN),
        (31, False, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_oldest_shard_is_fresh_a_warning_or_overdue(
    kept: Kept, days: int, passed: bool, severity: dg.AssetCheckSeverity
) -> None:
    """Each day, the shards verified longest ago are verified; the next oldest is reported."""
    for shard in ("00000", "00001", "00002"):
        kept.made.add(shard, 5)
    kept.verified_before(1, "00000")
    kept.verified_before(days, "00001", "00002")
    found = kept.oldest()  # three shards in half of 30 days are one a day
    assert (found.passed, found.severity) == (passed, severity)
    assert found.metadata["shard"].value == "00002"
    assert found.description == f"Shard 00002 was last verified {days}.0 days ago."


def test_a_clock_that_was_a_day_ahead_changes_nothing(kept: Kept) -> None:
    """A time in the future counts as now; on a clock a day behind, the others are due first."""
    for shard in ("00000", "00001"):
        kept.made.add(shard, 5)
    kept.verified_before(-1, "00000")
    kept.verified_before(1, "00001")
    found = kept.oldest()
    assert found.passed
    assert found.description == "Shard 00001 was last verified 0.0 days ago."


def test_shard_that_was_never_verified_is_a_warning(kept: Kept) -> None:
    """Shards that were embedded without Dagster are counted, not taken for fresh."""
    for shard in ("00000", "00001"):
        kept.made.add(shard, 5)
    kept.verified_before(1, "00000")
    assert kept.oldest().passed, "the other one is verified now"
    kept.made.add("00002", 5)
    kept.made.add("00003", 5)
    found = kept.oldest()
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "1 of 4 shards were never verified." in (found.description or "")


def test_a_damaged_file_is_found_when_its_shard_is_due(kept: Kept) -> None:
    """Each file is compared with its commit; what differs is named, and is not fresh."""
    commit = kept.made.add("00000", 5)
    kept.made.objects.put(commit.parts[0].path, b"damaged")
    for _ in range(2):
        found = kept.oldest()
        assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert commit.parts[0].path in (found.description or "")


def test_index_follows_past_a_hundred_shards(kept: Kept) -> None:
    """With 101 shards, one changed shard is noticed, and only that shard is reloaded."""
    for number in range(101):
        kept.made.add(f"{number:05d}", 5)
    kept.catalog(101)
    assert _loaded(kept) == (101, 0)
    assert _loaded(kept) == (0, 101)

    kept.made.add("00100", 5, version=2)

    blind = kept.materialize_index(checks_only=True)
    (behind,) = [
        e.metadata["behind"].value
        for e in blind.get_asset_check_evaluations()
        if e.check_name == "matches_embeddings" and not e.passed
    ]
    assert behind == ["00100"]
    kept.catalog(101, "second")
    assert _loaded(kept) == (1, 100)


def _loaded(kept: Kept) -> tuple[int, int]:
    """How many shards a run loaded and left, its blocking checks passed."""
    done = kept.materialize_index()
    assert done.success
    assert all(check.passed for check in done.get_asset_check_evaluations())
    (event,) = done.asset_materializations_for_node("photos__made_up_none_fp32__search_index")
    return event.metadata["shards_loaded"].value, event.metadata["shards_unchanged"].value
