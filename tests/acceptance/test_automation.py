"""What happens with no hand, judged by what a real `dg dev` does within its own ticks."""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from clip_assets import postgres
from clip_assets.index import search
from clip_assets.index.search import Release
from tests.acceptance.conftest import SHARD_SIZE, Workshop
from tests.acceptance.dagster_project import environment

pytestmark = pytest.mark.dagster_ui

MODEL_KEY = "tiny_untrained_0_fp32"
FOLLOWED = [
    ("followed", "catalog"),
    *(("followed", MODEL_KEY, step) for step in ("embeddings", "search_index", "release")),
]
QUIET = [
    ("quiet", "catalog"),
    *(("quiet", MODEL_KEY, step) for step in ("embeddings", "search_index", "release")),
]
HOURS_AGO = [1, 20, 30]


@pytest.fixture(scope="module")
def by_hand(workshop: Workshop) -> Release:
    """The first release of `followed`, made by hand."""
    dagster = workshop.dagster
    catalog, embeddings, index, release = FOLLOWED
    assert dagster.materialize(catalog).status == "SUCCESS"
    assert dagster.materialize(embeddings, partition="00000").status == "SUCCESS"
    assert dagster.materialize(index, release).status == "SUCCESS"
    return _live(workshop)


@pytest.fixture(scope="module")
def added(
    workshop: Workshop, by_hand: Release, write_pictures: Callable[..., Path]
) -> tuple[Release, float]:
    """The release before, and when pictures of two more shards were put into the folder."""
    write_pictures(workshop.folder / "followed", 2 * SHARD_SIZE, first=SHARD_SIZE)
    return by_hand, time.time()


def test_nothing_is_embedded_before_a_first_release(workshop: Workshop) -> None:
    """A new collection waits for a hand: no run is made of it, however long it is listed."""
    catalog = workshop.dagster.dry_run_sensor("followed_new_images")
    assert catalog["skipReason"] == (
        "The catalog was never materialized; the first time is by hand."
    )


def test_freshness_has_three_states(workshop: Workshop, added: tuple[Release, float]) -> None:
    """An asset made within 18 hours is healthy, then a warning, and after a day overdue."""
    with dg.DagsterInstance.from_config(str(workshop.folder / "home/dagster")) as instance:
        for key, hours in zip(QUIET, HOURS_AGO, strict=False):
            with freeze_time(datetime.now(UTC) - timedelta(hours=hours)):
                instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(key)))
    expected = dict(zip(QUIET, ["HEALTHY", "WARNING", "DEGRADED", "UNKNOWN"], strict=True))

    def told() -> dict[tuple[str, ...], str | None]:
        found = workshop.dagster.freshness()
        return {key: found.get(key) for key in QUIET}

    workshop.dagster.wait(lambda: told() == expected, f"{expected}", 120)


def test_status_tells_the_same_freshness(workshop: Workshop, added: tuple[Release, float]) -> None:
    """`clip-assets status` shows what the UI shows, and the oldest shard of the embeddings."""
    done = subprocess.run(
        [sys.executable, "-m", "clip_assets.cli", "status"],
        env={**environment(workshop.folder / "home", workshop.database), "COLUMNS": "160"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = {
        line.split("│")[1].strip(): line.split("│")[2].strip()
        for line in done.stdout.splitlines()
        if line.count("│") == 4
    }
    for key, state in zip(QUIET, ["fresh", "warning", "overdue"], strict=False):
        assert lines["/".join(key)] == state
    assert lines["followed/catalog"] == "fresh"
    assert lines["its oldest shard"] == "fresh"


def test_new_images_are_released_untouched_by_hand(
    workshop: Workshop, added: tuple[Release, float], record_property: Callable[[str, object], None]
) -> None:
    """Pictures added to the folder answer searches after a while, and nobody touched anything."""
    before, began = added
    workshop.dagster.wait(
        lambda: _live(workshop).rows == 3 * SHARD_SIZE, "a release with the new pictures", 400
    )
    live = _live(workshop)
    seconds = live.published_at.timestamp() - began
    record_property("seconds_from_image_to_release", round(seconds))
    print(f"images added to the folder -> release {live.id}: {seconds:.0f} s")
    assert live.id > before.id
    with postgres.connect(workshop.database) as connection:
        vector = search.vector_of(connection, live, f"{3 * SHARD_SIZE - 1:05d}.png")
        assert vector is not None
        first, *_ = search.search(connection, live, vector, 3)
    assert first.image_id == f"{3 * SHARD_SIZE - 1:05d}.png"
    tags = workshop.dagster.tags(first.lineage.run_id)
    assert tags["dagster/sensor_name"] == f"followed_{MODEL_KEY}_missing_shards"


def _live(workshop: Workshop) -> Release:
    with postgres.connect(workshop.database) as connection:
        return search.live(connection, "followed")
