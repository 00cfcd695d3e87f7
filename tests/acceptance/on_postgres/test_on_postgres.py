"""Backfills with failures, a switch of models, and what happens automatically.

One Dagster with its storage in Postgres serves all tests, so they are one file, which one process
runs. The tests of backfills stand in the order of one story, each going on where the one before
ended; meanwhile the sensors take up new pictures by themselves.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest

from clip_assets.postgres.connect import connect
from clip_assets.release.release import roll_back
from clip_assets.search import search
from clip_assets.search.search import Release
from tests.acceptance.on_postgres.conftest import (
    SCATTERED,
    SEARCH_PAGE,
    SHARD_SIZE,
    SHARDS,
    Workshop,
)
from tests.dagster_private import freeze_time

pytestmark = pytest.mark.dagster_ui

QUIET = [
    ("quiet", "catalog"),
    *(("quiet", "tiny_untrained_0_fp32", step) for step in ("embeddings", "search_index")),
]
HOURS_AGO = [1, 30, 40]


def test_nothing_is_embedded_before_a_first_release(workshop: Workshop) -> None:
    """A new collection needs a manual run: the sensors start none, however often they list it."""
    catalog = workshop.dagster.dry_run_sensor("quiet_new_images")
    assert catalog["skipReason"] == ("Materialize the catalog once to enable this sensor.")


def test_freshness_has_three_states(
    workshop: Workshop, scattered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An asset made within 27 hours is healthy, then a warning, and after 36 overdue."""
    monkeypatch.setenv("DAGSTER_PG_URL", workshop.env["DAGSTER_PG_URL"])
    with dg.DagsterInstance.from_config(workshop.env["DAGSTER_HOME"]) as instance:
        for key, hours in zip(QUIET, HOURS_AGO, strict=True):
            with freeze_time(datetime.now(UTC) - timedelta(hours=hours)):
                instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(key)))
    expected = dict(zip(QUIET, ["HEALTHY", "WARNING", "DEGRADED"], strict=True))

    def told() -> dict[tuple[str, ...], str | None]:
        found = workshop.dagster.freshness()
        return {key: found.get(key) for key in QUIET}

    workshop.dagster.wait(lambda: told() == expected, f"{expected}")


def test_status_tells_the_same_freshness(
    workshop: Workshop, scattered: str, forked: Callable[..., tuple[int, str]]
) -> None:
    """`clip-assets status` shows what the UI shows, and the oldest shard of the embeddings."""
    status, said = forked("clip_assets.cli.app", "status", env={**workshop.env, "COLUMNS": "160"})
    assert status == 0, said
    lines = {
        line.split("│")[1].strip(): line.split("│")[2].strip()
        for line in said.splitlines()
        if line.count("│") == 4
    }
    for key, state in zip(QUIET, ["fresh", "warning", "overdue"], strict=True):
        assert lines.get("/".join(key)) == state, said
    assert lines["followed/catalog"] == "fresh"
    assert lines["its oldest shard"] == "fresh"


def test_failed_middle_leaves_the_others_done(workshop: Workshop, scattered: str) -> None:
    """Of scattered shards only the bad one fails, and exactly the others are recorded."""
    found = workshop.dagster.finish_backfill(scattered)
    assert found["status"] == "COMPLETED_FAILED"
    assert sorted(run["status"] for run in found["runs"]) == ["FAILURE", "SUCCESS", "SUCCESS"]
    (counts,) = found["assetBackfillData"]["assetBackfillStatuses"]
    assert counts["numPartitionsTargeted"] == len(SCATTERED) == 3
    assert counts["numPartitionsMaterialized"] == 2
    assert counts["numPartitionsFailed"] == 1
    partitions = workshop.dagster.partitions(workshop.key("shapes", "embeddings"))[
        "assetPartitionStatuses"
    ]
    assert partitions["failedPartitions"] == [SCATTERED[1]]
    assert partitions["materializedPartitions"] == [SCATTERED[0], SCATTERED[2]]


def test_retry_failed_takes_the_failed_shard_alone(workshop: Workshop, scattered: str) -> None:
    """Once it can be written, `Retry failed` embeds that shard and leaves the others."""
    workshop.dagster.finish_backfill(scattered)
    workshop.blocked.unlink()
    retry = workshop.dagster.retry_failed(scattered)
    # Meanwhile, for the switch of models below: the daemon has yet to begin.
    other = workshop.dagster.materialize(
        workshop.key("shapes", "embeddings", 1), partition="00000", until=f"{SHARDS - 1:05d}"
    )
    assert other.status == "SUCCESS", other.failures
    retried = workshop.dagster.finish_backfill(retry)

    assert retried["status"] == "COMPLETED_SUCCESS"
    assert retried["numPartitions"] == 1
    partitions = workshop.dagster.partitions(workshop.key("shapes", "embeddings"))[
        "assetPartitionStatuses"
    ]
    assert partitions["failedPartitions"] == []
    assert partitions["materializedPartitions"] == SCATTERED


def test_index_follows_with_shards_missing(workshop: Workshop, scattered: str) -> None:
    """It loads what is there and says what is missing."""
    keys = [workshop.key("shapes", "search_index"), workshop.key("shapes", "release")]
    run = workshop.dagster.materialize(*keys)
    assert run.status == "SUCCESS", run.failures
    newest, *_ = workshop.dagster.materializations(keys[0])
    assert newest.metadata["shards_loaded"] == len(SCATTERED)
    assert newest.metadata["shards_missing"] == SHARDS - len(SCATTERED)
    assert newest.metadata["recall_by_ef_search"].startswith("![recall@10 by ef_search](data:")
    assert len(newest.metadata["recall_by_ef_search"]) < 200_000
    release, *_ = workshop.dagster.materializations(keys[1])
    assert release.metadata["search_page"] == SEARCH_PAGE


def test_model_is_switched_and_switched_back(workshop: Workshop, scattered: str) -> None:
    """A second model stands beside the live one until its release; rollback returns the first."""
    dagster = workshop.dagster
    before = workshop.live("shapes")
    indexed = dagster.materialize(workshop.key("shapes", "search_index", 1))
    assert indexed.status == "SUCCESS", indexed.failures
    assert workshop.live("shapes") == before

    switched = dagster.materialize(workshop.key("shapes", "release", 1))

    assert switched.status == "SUCCESS", switched.failures
    after = workshop.live("shapes")
    assert after.identity.weights != before.identity.weights
    assert (before.rows, after.rows) == (3 * SHARD_SIZE, SHARDS * SHARD_SIZE)
    with connect(workshop.database) as connection:
        assert roll_back(connection, "shapes").identity == before.identity


def test_new_images_are_released_untouched_by_hand(
    workshop: Workshop, added: tuple[Release, float], record_property: Callable[[str, object], None]
) -> None:
    """Pictures added to the folder are found after a while without any manual step."""
    before, began = added
    workshop.dagster.wait(
        lambda: workshop.live("followed").rows == 3 * SHARD_SIZE,
        "a release with the new pictures",
    )
    live = workshop.live("followed")
    seconds = live.published_at.timestamp() - began
    record_property("seconds_from_image_to_release", round(seconds))
    print(f"images added to the folder -> release {live.id}: {seconds:.0f} s")
    assert live.id > before.id
    with connect(workshop.database) as connection:
        vector = search.vector_of(connection, live, f"{3 * SHARD_SIZE - 1:05d}.png")
        assert vector is not None
        first, *_ = search.search(connection, live, vector, 3).hits
    assert first.image_id == f"{3 * SHARD_SIZE - 1:05d}.png"
    tags = workshop.dagster.tags(first.lineage.run_id)
    assert tags["dagster/sensor_name"] == "followed_tiny_untrained_0_fp32_missing_shards"


def test_everything_is_kept_in_postgres(workshop: Workshop, scattered: str) -> None:
    """Runs, events and the backfill are where DAGSTER_PG_URL says, and nothing is in SQLite."""
    storage = workshop.env["DAGSTER_PG_URL"].replace("+psycopg2", "")
    with psycopg.connect(storage) as connection:
        for table in ("runs", "event_logs", "bulk_actions"):
            counted = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert counted
            assert counted[0] > 0
    assert not list(workshop.folder.glob("home/dagster/**/*.db"))
