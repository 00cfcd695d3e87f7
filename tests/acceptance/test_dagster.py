"""The whole workflow through Dagster's GraphQL API, as a person does it in the UI.

One `dg dev` serves all tests. They are in the order of the workflow; what needs no shard is tested
while the daemon starts the backfill.
"""

import json
from pathlib import Path

import psutil
import pytest

from clip_assets.postgres.connect import connect
from clip_assets.search import search
from tests.acceptance.conftest import SHARD_SIZE, SHARDS, Workshop
from tests.acceptance.dagster_api import FinishedRun, Materialization

pytestmark = pytest.mark.dagster_ui

NEW_SHARDS = ("00022", "00023", "00024")


def test_catalog_adds_a_partition_for_every_shard(
    workshop: Workshop, cataloged: FinishedRun
) -> None:
    """Materializing the catalog cuts the images into shards, which are partitions at once."""
    assert cataloged.status == "SUCCESS", cataloged.failures
    found = workshop.dagster.partitions(workshop.EMBEDDINGS)
    assert found["partitionKeys"] == [f"{number:05d}" for number in range(SHARDS)]
    (event,) = workshop.dagster.materializations(workshop.CATALOG)
    assert event.metadata["dagster/row_count"] == SHARDS * SHARD_SIZE
    assert event.metadata["shards"] == SHARDS
    assert workshop.dagster.checks(workshop.CATALOG) == {
        "columns_joined": (False, "SUCCEEDED", cataloged.run_id),
        "ids_unique": (True, "SUCCEEDED", cataloged.run_id),
        "live_model_is_defined": (False, "SUCCEEDED", cataloged.run_id),
    }


def test_one_shard_is_recorded_with_all_that_is_known_of_it(
    workshop: Workshop, one_shard: FinishedRun
) -> None:
    """A run of one partition records its rows, rejects, speed, place and pictures."""
    assert one_shard.status == "SUCCESS", one_shard.failures
    (event,) = workshop.dagster.materializations(workshop.EMBEDDINGS, ["00000"])
    metadata = event.metadata
    assert event.run_id == metadata["made_by_run"] == one_shard.run_id
    assert metadata["dagster/partition_row_count"] == SHARD_SIZE
    assert metadata["rejects"] == 0
    assert metadata["images_per_second"] > 0
    assert "dagster/column_schema" not in metadata, "it belongs to the asset's definition"
    (commit,) = workshop.commits()["00000"]
    assert metadata["dagster/uri"] == str(commit.parent)
    assert metadata["pictures"].startswith("![pictures](data:image/webp;base64,")
    assert (commit.parent / "contact-sheet.jpg").is_file()


def test_one_shard_is_checked_and_blocks_what_follows(
    workshop: Workshop, one_shard: FinishedRun
) -> None:
    """The same run evaluates the blocking check of its shard, which verifies it."""
    assert workshop.dagster.checks(workshop.EMBEDDINGS) == {
        "complete_and_sound": (True, "SUCCEEDED", one_shard.run_id),
        "few_rejects": (False, "SUCCEEDED", one_shard.run_id),
        "oldest_shard": (False, "SUCCEEDED", one_shard.run_id),
    }


def test_backfill_of_every_shard_is_accepted(workshop: Workshop, backfill: str) -> None:
    """A backfill of more than 20 partitions can be launched."""
    found = workshop.dagster.ask("Backfill", id=backfill)
    assert found["__typename"] == "PartitionBackfill"
    assert found["numPartitions"] == SHARDS >= 20


def test_graph_tells_owner_kind_freshness_and_checks(
    workshop: Workshop, cataloged: FinishedRun
) -> None:
    """Every asset of a collection says whose it is, what it is, how fresh it must be."""
    nodes = [node for node in workshop.dagster.ask("Graph") if node["groupName"] == "photos"]
    found = {
        node["assetKey"]["path"][-1]: (
            [dependency["path"][-1] for dependency in node["dependencyKeys"]],
            sorted(node["kinds"]),
            sorted(check["name"] for check in node["assetChecksOrError"]["checks"]),
        )
        for node in nodes
    }
    assert found == {
        "catalog": ([], ["parquet"], ["columns_joined", "ids_unique", "live_model_is_defined"]),
        "embeddings": (
            ["catalog"],
            ["parquet", "pytorch"],
            ["complete_and_sound", "few_rejects", "oldest_shard"],
        ),
        "search_index": (
            ["embeddings"],
            ["postgres"],
            ["judged_quality_kept", "matches_embeddings", "recall_reached"],
        ),
        "release": (["search_index"], ["postgres"], ["answers"]),
        "report": (["embeddings"], ["parquet"], ["no_shard_drifted"]),
        "live": (["release"], ["postgres"], ["whole"]),
    }
    for node in nodes:
        assert node["owners"] == [{"team": "search"}]
        assert node["description"]
        if node["assetKey"]["path"] == ["photos", "live"]:
            continue  # nothing makes it: release moves it
        assert node["internalFreshnessPolicy"]["failWindowSeconds"] == 36 * 3600
        assert node["opVersion"]
        assert all(check["description"] for check in node["assetChecksOrError"]["checks"])


def test_descriptions_name_no_place_on_this_machine(workshop: Workshop) -> None:
    """The graph says the same about an asset wherever it is shown."""
    text = json.dumps(workshop.dagster.ask("Graph"))
    assert str(Path.cwd()) not in text
    assert str(workshop.folder) not in text


def test_sensor_asks_for_a_catalog_only_when_the_listing_changed(
    workshop: Workshop, cataloged: FinishedRun
) -> None:
    """An added picture makes the sensor request a run; without one it says why it does not."""
    sensor = "photos_new_images"
    assert workshop.dagster.dry_run_sensor(sensor)["skipReason"] == ("The source has not changed.")
    added = workshop.images / "99999.png"
    added.write_bytes((workshop.images / "00001.png").read_bytes())
    try:
        (request,) = workshop.dagster.dry_run_sensor(sensor)["runRequests"]
        assert request["runKey"]
    finally:
        added.unlink()
    assert not workshop.dagster.dry_run_sensor(sensor)["runRequests"]


def test_terminating_a_run_stops_its_job(workshop: Workshop, backfill: str) -> None:
    """Terminate in the UI ends the job early and for good; what is committed stays."""
    dagster = workshop.dagster
    run = dagster.launch(workshop.LARGE_EMBEDDINGS, partition="00000", until="00019")
    dagster.wait(lambda: bool(workshop.commits("large")), "the first shard to be committed")
    assert _processes_of(run)
    assert dagster.ask("Terminate", id=run)["__typename"] == "TerminateRunSuccess"
    dagster.wait(lambda: not _processes_of(run), "the job's process to end")
    stopped = dagster.finish(run)
    assert stopped.status == "CANCELED"
    assert not _processes_of(run)
    assert 0 < len(workshop.commits("large")) < 20


def test_backfill_embeds_every_shard(workshop: Workshop, backfilled: list[FinishedRun]) -> None:
    """Every run of the backfill succeeds, and every shard is recorded, checked and committed."""
    assert [run.status for run in backfilled] == ["SUCCESS", "SUCCESS"], backfilled
    found = workshop.dagster.partitions(workshop.EMBEDDINGS)
    assert found["partitionStats"] == {
        "numMaterialized": SHARDS, "numFailed": 0, "numPartitions": SHARDS,
    }  # fmt: skip
    by_backfill = {run.run_id for run in backfilled}
    events = workshop.dagster.materializations(workshop.EMBEDDINGS)
    recorded = {event.partition for event in events if event.run_id in by_backfill}
    assert recorded == set(workshop.commits()) == {f"{number:05d}" for number in range(SHARDS)}
    checks = workshop.dagster.checks(workshop.EMBEDDINGS)
    assert {name: status for name, (_, status, _) in checks.items()} == {
        "complete_and_sound": "SUCCEEDED",
        "few_rejects": "SUCCEEDED",
        "oldest_shard": "SUCCEEDED",
    }
    assert {run_id for _, _, run_id in checks.values()} <= by_backfill


def test_backfill_leaves_a_committed_shard_as_it_is(
    workshop: Workshop, one_shard: FinishedRun, backfilled: list[FinishedRun]
) -> None:
    """A shard that was embedded before is recorded as unchanged, with the run that made it."""
    newest, *_ = workshop.dagster.materializations(workshop.EMBEDDINGS, ["00000"])
    assert newest.run_id in {run.run_id for run in backfilled}
    assert newest.metadata["state"] == "unchanged"
    assert newest.metadata["made_by_run"] == one_shard.run_id


def test_index_is_judged_and_then_released(workshop: Workshop, released: FinishedRun) -> None:
    """One run loads, judges and publishes, and every check on the way is recorded as passed."""
    assert released.status == "SUCCESS", released.failures
    passed = (True, "SUCCEEDED", released.run_id)
    assert workshop.dagster.checks(workshop.SEARCH_INDEX) == {
        "judged_quality_kept": passed,
        "matches_embeddings": passed,
        "recall_reached": passed,
    }
    assert workshop.dagster.checks(workshop.RELEASE)["answers"][1:] == passed[1:]
    index, *_ = workshop.dagster.materializations(workshop.SEARCH_INDEX)
    assert index.metadata["shards_loaded"] == SHARDS
    release, *_ = workshop.dagster.materializations(workshop.RELEASE)
    assert release.metadata["dagster/row_count"] == SHARDS * SHARD_SIZE
    assert release.metadata["moved"] is True


def test_release_answers_with_lineage(
    workshop: Workshop, released: FinishedRun, one_shard: FinishedRun
) -> None:
    """The live release finds an image by its own vector, and says which run made it."""
    with connect(workshop.database) as connection:
        live = search.live(connection, "photos")
        vector = search.vector_of(connection, live, "00001.png")
        assert vector is not None
        first, *others = search.search(connection, live, vector, 10).hits
    assert live.run_id == released.run_id
    assert (first.image_id, first.caption) == ("00001.png", "picture number 1")
    assert first.score > 0.999
    assert first.lineage.shard == "00000"
    assert first.lineage.run_id == one_shard.run_id
    assert len(others) == 9


def test_bad_images_hold_nothing_back_and_are_mended(
    workshop: Workshop, released: FinishedRun
) -> None:
    """A shard of corrupt images is committed as rejects; once they are repaired, as rows."""
    dagster = workshop.dagster
    good = [path.read_bytes() for path in sorted(workshop.images.glob("*.png"))[:9]]
    corrupt = [data[:40] for data in good]
    _add(
        workshop,
        {number: (corrupt if number in (3, 4, 5) else good)[number] for number in range(9)},
    )
    assert dagster.materialize(workshop.CATALOG).status == "SUCCESS"

    first = dagster.materialize(workshop.EMBEDDINGS, partition="00022", until="00024")

    assert first.status == "SUCCESS", first.failures
    events = dagster.materializations(workshop.EMBEDDINGS, list(NEW_SHARDS))
    rejects = _newest(events, first, "rejects")
    assert rejects == {"00022": 0, "00023": 3, "00024": 0}

    _add(workshop, {number: good[number] for number in (3, 4, 5)})
    assert dagster.materialize(workshop.CATALOG).status == "SUCCESS"
    second = dagster.materialize(workshop.EMBEDDINGS, partition="00022", until="00024")

    assert second.status == "SUCCESS", second.failures
    events = dagster.materializations(workshop.EMBEDDINGS, list(NEW_SHARDS))
    states = _newest(events, second, "state")
    assert states == {"00022": "unchanged", "00023": "committed", "00024": "unchanged"}
    (mended,) = [path for path in workshop.commits()["00023"] if "v00002-" in str(path)]
    assert mended.is_file()


def test_backfill_is_told_as_completed(
    workshop: Workshop, backfilled: list[FinishedRun], backfill: str
) -> None:
    """The backfill's own page ends as complete, with every partition counted."""
    dagster = workshop.dagster
    dagster.wait(
        lambda: dagster.ask("Backfill", id=backfill)["status"] == "COMPLETED_SUCCESS",
        "the daemon to close the backfill",
    )
    found = dagster.ask("Backfill", id=backfill)
    assert {run["status"] for run in found["runs"]} == {"SUCCESS"}
    (counts,) = found["assetBackfillData"]["assetBackfillStatuses"]
    assert counts["numPartitionsMaterialized"] == counts["numPartitionsTargeted"] == SHARDS
    assert counts["numPartitionsFailed"] == 0


def test_no_warning_comes_from_our_code(workshop: Workshop, released: FinishedRun) -> None:
    """Neither the servers nor the runs print a warning that points at a file of ours."""
    logs = [workshop.log, *workshop.folder.glob("home/dagster/storage/*/compute_logs/*.err")]
    assert len(logs) > 3
    ours = [
        line
        for log in logs
        for line in log.read_text(errors="replace").splitlines()
        if "Warning: " in line and ("/clip_assets/" in line or "defs.yaml" in line)
    ]
    assert not ours


def _newest(events: list[Materialization], run: FinishedRun, name: str) -> dict[str, object]:
    """That metadata of each shard's last event of the run; a run also tells of each commit."""
    oldest_first = reversed([event for event in events if event.run_id == run.run_id])
    return {event.partition: event.metadata.get(name) for event in oldest_first}


def _add(workshop: Workshop, pictures: dict[int, bytes]) -> None:
    """Numbered pictures that sort after all others, or repaired ones in their place."""
    for number, data in pictures.items():
        (workshop.images / f"new-{number}.png").write_bytes(data)


def _processes_of(run: str) -> list[int]:
    """Ids of the processes whose command line names the run."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if f"-{run[:8]}-" in " ".join(process.info["cmdline"] or ())
    ]
