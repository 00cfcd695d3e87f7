"""What happens with no hand, judged by what a real `dg dev` does within its own ticks."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from clip_assets.postgres.connect import connect
from clip_assets.search import search
from clip_assets.search.search import Release
from tests.acceptance.on_postgres.conftest import SHARD_SIZE, Workshop
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
    workshop: Workshop, added: tuple[Release, float], monkeypatch: pytest.MonkeyPatch
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


def test_status_tells_the_same_freshness(workshop: Workshop, added: tuple[Release, float]) -> None:
    """`clip-assets status` shows what the UI shows, and the oldest shard of the embeddings."""
    done = subprocess.run(
        [sys.executable, "-m", "clip_assets.cli.app", "status"],
        env={**workshop.env, "COLUMNS": "160"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = {
        line.split("│")[1].strip(): line.split("│")[2].strip()
        for line in done.stdout.splitlines()
        if line.count("│") == 4
    }
    for key, state in zip(QUIET, ["fresh", "warning", "overdue"], strict=True):
        assert lines["/".join(key)] == state
    assert lines["followed/catalog"] == "fresh"
    assert lines["its oldest shard"] == "fresh"


def test_new_images_are_released_untouched_by_hand(
    workshop: Workshop, added: tuple[Release, float], record_property: Callable[[str, object], None]
) -> None:
    """Pictures added to the folder answer searches after a while, and nobody touched anything."""
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
