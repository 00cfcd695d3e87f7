"""Backfills that do not go smoothly and a switch of models, on an instance with Postgres storage.

The tests stand in the order of one story, each going on where the one before ended.
"""

import psycopg
import pytest

from clip_assets.postgres.connect import connect
from clip_assets.release.release import roll_back
from tests.acceptance.on_postgres.conftest import (
    CORRUPT,
    SCATTERED,
    SEARCH_PAGE,
    SHARD_SIZE,
    SHARDS,
    Workshop,
)
from tests.conftest import picture

pytestmark = pytest.mark.dagster_ui


def test_failed_middle_leaves_the_others_done(workshop: Workshop, scattered: str) -> None:
    """Of scattered shards the bad one fails alone, and exactly the others are recorded."""
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
    """Once its images are mended, `Retry failed` embeds that shard and leaves the others."""
    workshop.dagster.finish_backfill(scattered)
    for number in CORRUPT:
        (workshop.folder / f"shapes/{number:05d}.png").write_bytes(picture(number))
    assert workshop.dagster.materialize(workshop.key("shapes", "catalog")).status == "SUCCESS"

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


def test_everything_is_kept_in_postgres(workshop: Workshop, scattered: str) -> None:
    """Runs, events and the backfill lie where DAGSTER_PG_URL says, and nothing in sqlite."""
    storage = workshop.env["DAGSTER_PG_URL"].replace("+psycopg2", "")
    with psycopg.connect(storage) as connection:
        for table in ("runs", "event_logs", "bulk_actions"):
            counted = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert counted
            assert counted[0] > 0
    assert not list(workshop.folder.glob("home/dagster/**/*.db"))
