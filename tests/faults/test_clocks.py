"""The clocks of the machines that make a collection are a day off, in opposite directions."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from clip_assets import catalog
from clip_assets.model import ModelSpec
from clip_assets.store.objects import Objects
from clip_assets.verify.verify import verify
from tests.faults import collection
from tests.faults.collection import NAME, Step, Tiny

IMAGES = 40
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
pytestmark = pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")


@pytest.mark.promise("Clocks do not matter")
def test_clocks_a_day_off_change_nothing(
    tmp_path: Path, new_database: Callable[[], str], tiny_spec: ModelSpec
) -> None:
    """One machine lists and embeds, another loads, publishes and erases; one is a day behind and
    the other ahead, then the other way round. Rows, rejects, ledger and releases are those of right
    clocks, and what was replaced just now is not swept."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    right, wrong = (_collection(tmp_path / name, pictures, new_database(), tiny_spec)
                    for name in ("right", "wrong"))  # fmt: skip
    for number, (one, other) in enumerate([("-1d", "+1d"), ("+1d", "-1d")]):
        _change(pictures, number)
        for tiny in (right, wrong):
            (tiny.data / "erase").write_text(f"{number + 1:05d}.png")
        for step in collection.STEPS:
            step(right, f"{number}")
        _on_another_machine(wrong, one, collection.list_images, collection.embed_images)
        _on_another_machine(wrong, other, collection.publish, collection.erase)
    assert _on_another_machine(wrong, "+1d", collection.sweep) == "0"
    assert _summary(wrong) == _summary(right)


def _collection(data: Path, pictures: Path, address: str, spec: ModelSpec) -> Tiny:
    data.mkdir()
    return Tiny(data, address, pictures, spec)


def _change(pictures: Path, number: int) -> None:
    """Write every picture; in the second round, change nine in ten."""
    for name in range(number * IMAGES // 10, IMAGES):
        (pictures / f"{name:05d}.png").write_bytes(collection.picture(name, number))


def _on_another_machine(tiny: Tiny, shift: str, *steps: Step) -> str:
    """Run the steps under a clock that is off; returns the last word they print."""
    assert FAKETIME
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.collection", str(tiny.data), tiny.dsn,
         str(tiny.pictures), tiny.spec.model_dump_json(), *(step.__name__ for step in steps)],
        check=False, capture_output=True, text=True,
        env=os.environ | {"LD_PRELOAD": str(FAKETIME), "FAKETIME": shift,
                          "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()[-1] if done.stdout.split() else ""


def _summary(tiny: Tiny) -> tuple[object, ...]:
    with psycopg.connect(tiny.dsn, autocommit=True) as connection:
        head = catalog.require(tiny.objects, NAME)
        found = verify(tiny.objects, head, connection, lambda *_: None)
        releases = connection.execute(
            "SELECT release_id, rows FROM clip_assets.release ORDER BY release_id"
        ).fetchall()
    shards = [(shard.shard, shard.version, shard.digest) for shard in head.shards]
    return (
        tiny.rows(), tiny.rejected(), tiny.ledger(), releases, shards, found.faults, found.behind,
        _versions(tiny.objects),
    )  # fmt: skip


def _versions(objects: Objects) -> list[str]:
    """Every file of the catalog and of the embeddings, whose names have versions and digests."""
    return sorted(e.path for folder in ("catalog", "embeddings") for e in objects.list(folder))
