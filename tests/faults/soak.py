"""Simulates a living collection, day after day, in fast forward, and draws what it takes.

    python -m tests.faults.soak --days 60 --plot soak.png

On each day images come, change and go, and the catalog, embeddings, index and release follow. Every
seventh day another model is released, every tenth the release is rolled back and made again, every
fifth day an image is erased. Each day ends with a sweep. After each day every image of the source
must find itself first, and no other image may be found. Prints a line a day; ends with status 1 at
the first wrong answer.
"""

import argparse
import gc
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import psutil
import psycopg

from clip_assets.erasure.erase import erase
from clip_assets.model import ModelSpec
from clip_assets.release import release, sweep
from clip_assets.search import search
from tests.faults import collection
from tests.faults.collection import CUT, NAME, Tiny
from tests.faults.scratch import scratch

FIRST, NEW, CHANGED, GONE = 1000, 40, 10, 35
MODEL = Path(__file__).parent.parent / "models/tiny"


@dataclass(frozen=True)
class Day:
    """The state at the end of a day; sizes in MB."""

    day: int
    images: int
    seconds: float
    memory: float
    files: float
    database: float
    release: int

    def __str__(self) -> str:
        return (
            f"day {self.day}: {self.images} images, release {self.release}, {self.seconds:.1f} s; "
            f"{self.memory:.0f} MB of memory, {self.files:.1f} MB of files, "
            f"{self.database:.1f} MB in the database"
        )


def spec(seed: int) -> ModelSpec:
    return ModelSpec(name=f"local-dir:{MODEL}", untrained_seed=seed)


def live_through(tiny: Tiny, days: int, chance: Random) -> Iterator[Day]:
    """Yields each day of the collection. Raises AssertionError at the first wrong answer."""
    erased: set[str] = set()
    there: dict[int, int] = {}
    for day in range(days):
        started = time.monotonic()
        _change_the_source(tiny.pictures, there, day, chance)
        if day % 7 == 6:
            tiny = replace(tiny, spec=spec(day // 7 % 2 + 1))
        for step in (collection.list_images, collection.embed_images, collection.publish):
            step(tiny, f"day-{day}")
        with psycopg.connect(tiny.dsn, autocommit=True) as connection:
            if day % 5 == 4:
                name = f"{chance.choice([n for n in there if n % CUT]):05d}.png"
                erase(connection, tiny.objects, [name], "asked for", lambda _: None)
                erased.add(name)
            wanted = {f"{n:05d}.png" for n in there if n % CUT} - erased
            _answers_are_right(connection, wanted, chance)
            if day % 10 == 9:
                release.roll_back(connection, NAME)
                assert not _found(connection) & erased, "a rollback revives nothing"
                collection.publish(tiny, f"day-{day}-again")
                _answers_are_right(connection, wanted, chance)
            sweep.sweep(connection, tiny.objects, NAME)
            yield _measured(connection, tiny, day, time.monotonic() - started)
        _make_a_day_older(tiny.data / NAME)


def _make_a_day_older(data: Path) -> None:
    for file in data.rglob("*"):
        if file.is_file():
            os.utime(file, (file.stat().st_mtime - 24 * 3600,) * 2)


def _change_the_source(pictures: Path, there: dict[int, int], day: int, chance: Random) -> None:
    """`there` maps the number of each picture to its version."""
    first = 0 if day == 0 else FIRST + (day - 1) * NEW
    came = range(first, FIRST if day == 0 else first + NEW)
    old = [*there]
    for number in chance.sample(old, min(CHANGED, len(old))):
        there[number] += 1
        (pictures / f"{number:05d}.png").write_bytes(collection.picture(number, there[number]))
    for number in chance.sample(old, min(GONE, len(old))):
        del there[number]
        (pictures / f"{number:05d}.png").unlink()
    for number in came:
        there[number] = 0
        (pictures / f"{number:05d}.png").write_bytes(collection.picture(number))


def _answers_are_right(connection: psycopg.Connection, wanted: set[str], chance: Random) -> None:
    """Check that the rows are the images of the source and that each image finds itself."""
    found = _found(connection)
    assert found == wanted, sorted(found ^ wanted)[:10]
    live = search.live(connection, NAME)
    for name in chance.sample(sorted(wanted), 20):
        vector = search.vector_of(connection, live, name)
        assert vector is not None
        hits = search.search(connection, live, vector, 5).hits
        assert hits[0].score > 0.999
        assert {hit.image_id for hit in hits} <= wanted


def _found(connection: psycopg.Connection) -> set[str]:
    rows = connection.execute(f"SELECT image_id FROM {NAME}.images").fetchall()
    found = {name for (name,) in rows}
    assert len(found) == len(rows), "no image is there twice"
    return found


def _measured(connection: psycopg.Connection, tiny: Tiny, day: int, seconds: float) -> Day:
    gc.collect()
    files = sum(entry.size for entry in tiny.objects.list())
    (database,) = connection.execute("SELECT pg_database_size(current_database())").fetchone() or (
        0,
    )
    memory = psutil.Process().memory_info().rss
    live = search.live(connection, NAME)
    return Day(day, live.rows, seconds, memory / 1e6, files / 1e6, database / 1e6, live.id)


def draw(days: list[Day], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 10), layout="constrained")
    axes = figure.subplots(5, 1, sharex=True)
    for axis, name in zip(axes, ["images", "seconds", "memory", "files", "database"], strict=True):
        axis.plot([day.day for day in days], [getattr(day, name) for day in days])
        axis.set_ylabel(name if name in ("images", "seconds") else f"{name}, MB")
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("day")
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    with scratch() as (folder, dsn):
        (folder / "pictures").mkdir()
        (folder / "data").mkdir()
        tiny = Tiny(folder / "data", dsn, folder / "pictures", spec(0))
        days = []
        for day in live_through(tiny, options.days, Random(options.seed)):
            print(day, flush=True)
            days.append(day)
            if options.plot:
                draw(days, options.plot)


if __name__ == "__main__":
    main()
