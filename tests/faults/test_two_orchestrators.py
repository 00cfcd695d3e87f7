"""Two Dagster instances on one collection: the same data, the same database, at the same time."""

import os
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from clip_assets import catalog
from clip_assets.component.image_collection import ImageCollection
from clip_assets.judge import judge
from clip_assets.model import ModelSpec
from clip_assets.search import search
from clip_assets.source.config import FolderConfig
from clip_assets.store import erased
from clip_assets.verify.verify import verify
from tests.faults import collection
from tests.faults.collection import NAME, Tiny
from tests.faults.orchestrator import Orchestrator

ROUNDS, IMAGES, SHARD = 2, 80, 20
TRIES = 8
PATIENCE_SECONDS = 900


@pytest.fixture
def tiny(tmp_path: Path, new_database: Callable[[], str], tiny_spec: ModelSpec) -> Tiny:
    for name in ("pictures", "data", "one", "other"):
        (tmp_path / name).mkdir()
    return Tiny(tmp_path / "data", new_database(), tmp_path / "pictures", tiny_spec)


@pytest.mark.promise("No image is lost")
def test_two_orchestrators_make_one_collection(
    tiny: Tiny, processes: ForkServerContext, record_property: Callable[[str, object], None]
) -> None:
    """Both list, embed, load, judge and publish all of it while images change and are erased; at
    the end all is as if one had done it, and the releases of both are recorded."""
    released: list[int] = []
    for number in range(ROUNDS):
        _change(tiny.pictures, number)
        both = processes.Barrier(2)
        queue = processes.Queue()
        homes = [tiny.data.parent / name for name in ("one", "other")]
        working = [
            processes.Process(target=orchestrate, args=(tiny, home, both, queue)) for home in homes
        ]
        if number:
            (tiny.data / "erase").write_text(f"{number * IMAGES + 1 - IMAGES:05d}.png")
            working.append(processes.Process(target=erase, args=(tiny,)))
        for process in working:
            process.start()
        released += [queue.get(timeout=PATIENCE_SECONDS) for _ in homes]
        for process in working:
            process.join(PATIENCE_SECONDS)
        assert [process.exitcode for process in working] == [0] * len(working)
    with psycopg.connect(tiny.dsn, autocommit=True) as connection:
        head = catalog.require(tiny.objects, NAME)
        found = verify(tiny.objects, head, connection, lambda *_: None)
        known = {
            number for (number,) in connection.execute("SELECT release_id FROM clip_assets.release")
        }
        live = search.live(connection, NAME)
        names = {name for (name,) in connection.execute(f"SELECT image_id FROM {NAME}.images")}
    wanted = tiny.listed() - erased.erased(tiny.objects).image_ids
    assert (found.faults, found.behind) == ((), ())
    assert {name for name, *_ in tiny.rows()} == names
    assert names | {name for name, _ in tiny.rejected()} == wanted
    assert len(tiny.rows()) + len(tiny.rejected()) == len(wanted)
    assert set(released) <= known
    assert live.id == max(known)
    record_property("figure", f"{len(known)} releases, {len(names)} images")


def _change(pictures: Path, number: int) -> None:
    """Add pictures and change some of the earlier ones."""
    first = number * IMAGES
    for new in range(first, first + IMAGES):
        (pictures / f"{new:05d}.png").write_bytes(collection.picture(new))
    for old in range(number + 1, first, 17):
        (pictures / f"{old:05d}.png").write_bytes(collection.picture(old, number))


def erase(tiny: Tiny) -> None:
    """Repeat the step until it succeeds, as a user would."""
    _until_it_ends(lambda: collection.erase(tiny, ""))


def orchestrate(tiny: Tiny, home: Path, both: Any, queue: Any) -> None:
    """Run all steps of one instance in its own process, each at the same time as the other's.

    Puts the live release at the end into `queue`.
    """
    os.environ |= {
        "CLIP_ASSETS_HOME": str(home),
        "CLIP_ASSETS_DATA": str(tiny.data),
        "DATABASE_URL": tiny.dsn,
    }
    judge.QUERIES = 40
    made = ImageCollection(
        name=NAME, source=FolderConfig(uri=str(tiny.pictures)), spec=tiny.spec, shard_size=SHARD,
        max_reject_share=0.1,
    )  # fmt: skip
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        steps = Orchestrator(instance, made).steps
        for step in steps:
            both.wait(PATIENCE_SECONDS)
            _until_it_ends(step)
        both.wait(PATIENCE_SECONDS)
        for step in steps:  # what came of an erasure meanwhile
            _until_it_ends(step)
    with psycopg.connect(tiny.dsn) as connection:
        queue.put(search.live(connection, NAME).id)


def _until_it_ends(step: Callable[[], None]) -> None:
    for _ in range(TRIES):
        try:
            return step()
        except Exception as error:
            print(f"again, after {error}", flush=True)
            last = error
    raise last
