"""Every image exactly once, proven on the output, whatever is killed in between.

10,000 pictures in four rounds: some are new, some change, some go. Each step of a round runs once
undisturbed on one collection, which gives its time, and on another one is killed at random moments
of that time, run twice at once, and run again until it ends.
"""

import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from random import Random

import psycopg
import pytest

from clip_assets import catalog
from clip_assets.erasure.erase import erase as erase_now
from clip_assets.model import ModelSpec
from clip_assets.store import erased
from clip_assets.verify.verify import verify
from tests.faults import collection
from tests.faults.collection import NAME, PART, Rows, Step, Tiny

IMAGES, ROUNDS, KILLS = 10_000, 4, 20
PATIENCE_SECONDS = 600
AT_MOST_PARTS = 8
"""What a killed job may encode again: the parts that wait to be written, and those between."""


@pytest.fixture
def pair(
    tmp_path: Path, new_database: Callable[[], str], tiny_spec: ModelSpec
) -> tuple[Tiny, Tiny]:
    """Two collections of the same pictures: one undisturbed, one whose steps are killed."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    made = []
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
        made.append(Tiny(tmp_path / name, new_database(), pictures, tiny_spec))
    return made[0], made[1]


class Killer:
    """Runs steps of a collection, kills some of them, and keeps count."""

    def __init__(self, tiny: Tiny, processes: ForkServerContext, chance: Random) -> None:
        self.tiny, self.processes, self.chance = tiny, processes, chance
        self.killed: Counter[str] = Counter()
        self.redone: list[int] = []
        self.attempts = 0

    def run(self, step: Step, seconds: float, kills: int) -> None:
        """Kill this many attempts at random moments within `seconds`, then let one finish."""
        for _ in range(kills):
            self._attempt(step, self.chance.uniform(0, seconds))
        if self.chance.random() < 0.5:
            self._two_at_once(step, self.chance.uniform(0, seconds))
        self._attempt(step, None)

    def _attempt(self, step: Step, moment: float | None) -> None:
        before = collection.stored(self.tiny) if step is collection.embed_images else 0
        name = self._name()
        process = collection.start(self.processes, step, self.tiny, name)
        process.join(PATIENCE_SECONDS if moment is None else moment)
        process.kill()
        process.join()
        if moment is None:
            assert process.exitcode == 0, f"{step.__name__} failed after {self.killed}"
        elif process.exitcode == -signal.SIGKILL:
            self.killed[step.__name__] += 1
            if step is collection.embed_images:
                kept = collection.stored(self.tiny) - before
                self.redone.append(collection.encoded(self.tiny, name) - kept)
        else:
            assert process.exitcode == 0, f"{step.__name__} failed after {self.killed}"

    def _two_at_once(self, step: Step, moment: float) -> None:
        """Materialize the same shards twice at once, and kill one of the two."""
        first, second = (
            collection.start(self.processes, step, self.tiny, self._name()) for _ in range(2)
        )
        first.join(moment)
        first.kill()
        second.join(PATIENCE_SECONDS)
        second.kill()
        first.join()
        second.join()
        assert first.exitcode in (0, -signal.SIGKILL)
        self.killed[step.__name__] += first.exitcode != 0
        assert second.exitcode == 0, f"{step.__name__} failed beside another one"

    def _name(self) -> str:
        self.attempts += 1
        return str(self.attempts)


def undisturbed(tiny: Tiny, processes: ForkServerContext, step: Step, name: str) -> float:
    """How many seconds the step takes undisturbed."""
    started = time.monotonic()
    process = collection.start(processes, step, tiny, name)
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == 0
    return time.monotonic() - started


def rounds(pictures: Path) -> Iterator[int]:
    """Change the folder before each round: add, change and delete pictures."""
    share = IMAGES // ROUNDS
    for number in range(ROUNDS):
        first = number * share
        for new in range(first, first + share):
            (pictures / f"{new:05d}.png").write_bytes(collection.picture(new))
        for old in range(number, first, 97):
            (pictures / f"{old:05d}.png").write_bytes(collection.picture(old, number))
        for gone in range(max(first - share, 0) + 13, first, 211):
            (pictures / f"{gone:05d}.png").unlink()
        yield number


@pytest.mark.promise("No image is lost")
def test_every_image_exactly_once_whatever_is_killed(
    pair: tuple[Tiny, Tiny],
    processes: ForkServerContext,
    moments: Random,
    record_property: Callable[[str, object], None],
) -> None:
    """After twenty kills and as many retries, the collection equals the undisturbed one:
    ids, rejects, vectors and ledger; nothing is missing, repeated or left behind."""
    whole, broken = pair
    killer = Killer(broken, processes, moments)
    chosen = Random(0)
    for number in rounds(whole.pictures):
        for tiny in pair:
            (tiny.data / "erase").write_text(f"{number * 2500 + 1:05d}.png")
        for step in collection.STEPS:
            seconds = undisturbed(whole, processes, step, f"whole-{number}-{step.__name__}")
            wanted = {collection.embed_images: 2, collection.publish: 2}.get(step, 1)
            killer.run(step, seconds, wanted)
        _same(whole, broken)
    while killer.killed.total() < KILLS:  # a step may have ended before its moment came
        name = f"{chosen.randrange(IMAGES):05d}.png"
        (whole.pictures / name).write_bytes(collection.picture(chosen.randrange(1, 200), 9))
        for step in collection.STEPS[:3]:
            seconds = undisturbed(whole, processes, step, f"more-{name}-{step.__name__}")
            killer.run(step, seconds / 2, 1)
    _same(whole, broken)
    images, rejects = len(broken.rows()), len(broken.rejected())
    _nothing_left_behind(broken)
    redone = max(killer.redone, default=0)
    kinds = ", ".join(f"{count} of {name}" for name, count in sorted(killer.killed.items()))
    record_property(
        "figure",
        f"{killer.killed.total()} kills ({kinds}); {images:,} images, {rejects} rejects; at most "
        f"{redone} images encoded again after a kill, parts of {PART}",
    )
    assert redone <= AT_MOST_PARTS * PART


def _same(whole: Tiny, broken: Tiny) -> None:
    """Both have the same output, and all of it is sound."""
    assert broken.rejected() == whole.rejected()
    assert _differing(broken.rows(), whole.rows()) == []
    assert broken.ledger() == whole.ledger()
    keys = [name for name, *_ in broken.rows()] + [name for name, _ in broken.rejected()]
    assert len(keys) == len(set(keys))
    assert set(keys) == broken.listed() - erased.erased(broken.objects).image_ids
    head = catalog.require(broken.objects, NAME)
    with psycopg.connect(broken.dsn, autocommit=True) as connection:
        found = verify(broken.objects, head, connection, lambda *_: None)
    assert found.faults == ()
    assert found.figures["embedded"] == found.figures["indexed rows"] == len(broken.rows())


def _differing(left: Rows, right: Rows) -> list[str]:
    """Ids of the images that differ; short, since a failed assertion prints all of it."""
    return sorted({name for name, *_ in set(left) ^ set(right)})[:10]


def _nothing_left_behind(broken: Tiny) -> None:
    """There is no open erasure, lock or temporary table."""
    assert erased.open_requests(broken.objects) == []
    with psycopg.connect(broken.dsn, autocommit=True) as connection:
        assert erase_now(connection, broken.objects, [], "", lambda _: None) == []
        (locks,) = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchone() or (None,)
        (tables,) = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'"
        ).fetchone() or (None,)
    assert (locks, tables) == (0, 0)
    shutil.rmtree(broken.data)
