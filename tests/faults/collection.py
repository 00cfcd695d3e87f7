"""A collection of many tiny pictures, driven by processes that may be killed."""

import io
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import numpy as np
import psycopg
from PIL import Image

from clip_assets import catalog
from clip_assets.erasure import erase as erasing
from clip_assets.index import tables
from clip_assets.index.vector_type import VectorType
from clip_assets.judge import judge
from clip_assets.judge.judgement import Wanted
from clip_assets.lake.lake import Lake
from clip_assets.model import ModelSpec
from clip_assets.node import embed
from clip_assets.node.encoder import Encoder
from clip_assets.node.job import EmbedJob
from clip_assets.release import sweep as sweeping
from clip_assets.release import update
from clip_assets.release.update import ReleaseSpec
from clip_assets.source.config import FolderConfig
from clip_assets.source.open import open_source
from clip_assets.status import missing_shards
from clip_assets.store import erased, parquet
from clip_assets.store.objects import Objects

NAME = "photos"
SHARD, PART = 1000, 100
CUT = 250
"""One picture in so many is cut short, so it must be found among the rejects."""
Rows = list[tuple[str, str, bytes]]
"""Id, sha256 and vector of each image that is embedded, in order of ids."""


def picture(number: int, version: int = 0) -> bytes:
    """A 16 x 16 PNG of noise that follows from the number and the version; one in CUT is cut."""
    noise = np.random.default_rng([number, version]).integers(0, 256, (4, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise.repeat(4, axis=0).repeat(4, axis=1)).save(file, "PNG")
    data = file.getvalue()
    return data[: len(data) // 2] if number % CUT == 0 else data


@dataclass(frozen=True)
class Tiny:
    """Data, database and the folder of pictures, which several may share."""

    data: Path
    dsn: str
    pictures: Path
    spec: ModelSpec

    @property
    def objects(self) -> Objects:
        return Objects(str(self.data / NAME))

    @property
    def release(self) -> ReleaseSpec:
        wanted = Wanted(recall=0.5)
        return ReleaseSpec(NAME, self.spec, VectorType.HALFVEC, wanted=wanted, keep_indexes=2)

    def rows(self) -> Rows:
        with Lake(self.objects).connect() as lake:
            found = lake.execute("SELECT image_id, sha256, embedding FROM embeddings").fetchall()
        return sorted((name, sha, np.float32(vector).tobytes()) for name, sha, vector in found)

    def rejected(self) -> list[tuple[str, str]]:
        with Lake(self.objects).connect() as lake:
            return sorted(lake.execute("SELECT image_id, reason FROM rejects").fetchall())

    def ledger(self) -> list[tuple[object, ...]]:
        """The part of the ledger that does not depend on which job came first."""
        with psycopg.connect(self.dsn) as connection:
            index = tables.find(connection, NAME, self.spec.slug)
            loaded = tables.ledger(connection, index).values()
            return sorted((row.shard, row.digest, row.rows) for row in loaded)

    def listed(self) -> set[str]:
        return {ref.image_id for ref in open_source(FolderConfig(uri=str(self.pictures))).list()}


def list_images(tiny: Tiny, _: str) -> None:
    """The asset `catalog`."""
    source = FolderConfig(uri=str(tiny.pictures))
    catalog.refresh(tiny.objects, NAME, source, open_source(source).list(), SHARD)


def embed_images(tiny: Tiny, attempt: str) -> None:
    """The asset `embeddings` for the missing shards; notes how many images it encodes."""
    encode, note = Encoder.encode_pixels, tiny.data / f"encoded-{attempt}"

    def counted(self: Encoder, pixels: list[object], *options: object) -> object:
        with note.open("ab") as file:
            file.write(b"." * len(pixels))
        return encode(self, pixels, *options)  # type: ignore[arg-type]

    head = catalog.require(tiny.objects, NAME)
    shards = tuple(missing_shards(tiny.objects, head, tiny.spec.slug))
    if not shards:
        return
    job = EmbedJob(
        job_id=f"job-{attempt}", run_id=f"run-{attempt}", collection=NAME, model=tiny.spec,
        shards=shards, part_rows=PART, max_reject_share=0.1,
    )  # fmt: skip
    Encoder.encode_pixels = counted  # type: ignore[method-assign, assignment]
    try:
        embed.run(tiny.objects, job)
    finally:
        Encoder.encode_pixels = encode  # type: ignore[method-assign]


def publish(tiny: Tiny, attempt: str) -> None:
    """The assets `search_index` and `release`: load, build, judge, publish."""
    judge.QUERIES = 40
    with psycopg.connect(tiny.dsn, autocommit=True) as connection:
        update.bring_up_to_date(connection, tiny.objects, tiny.release, attempt, lambda _: None)


def erase(tiny: Tiny, _: str) -> None:
    """Erase the images on the data folder's list that nobody has asked to erase yet."""
    asked = (tiny.data / "erase").read_text().split()
    known = {name for request in erased.requests(tiny.objects) for name in request.image_ids}
    names = [name for name in asked if name not in known]
    with psycopg.connect(tiny.dsn, autocommit=True) as connection:
        erasing.erase(connection, tiny.objects, names, "asked for", lambda _: None)


def sweep(tiny: Tiny, _: str) -> None:
    """Delete versions replaced more than half a day ago, and print how many."""
    with psycopg.connect(tiny.dsn, autocommit=True) as connection:
        print(sweeping.sweep(connection, tiny.objects, NAME, timedelta(hours=12)).versions)


Step = Callable[[Tiny, str], None]
STEPS: tuple[Step, ...] = (list_images, embed_images, publish, erase)


def start(processes: ForkServerContext, step: Step, tiny: Tiny, attempt: str) -> ForkServerProcess:
    """The step in a process of its own, without its output."""
    process = processes.Process(target=_quiet, args=(step, tiny, attempt))
    process.start()
    return process


def _quiet(step: Step, tiny: Tiny, attempt: str) -> None:
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        step(tiny, attempt)


def encoded(tiny: Tiny, attempt: str) -> int:
    """How many images this attempt encoded."""
    note = tiny.data / f"encoded-{attempt}"
    return note.stat().st_size if note.exists() else 0


def stored(tiny: Tiny) -> int:
    """How many images are in parts that have their final name, committed or not."""
    entries = tiny.objects.list(f"embeddings/{tiny.spec.slug}")
    parts = [entry.path for entry in entries if "/part-" in entry.path]
    return sum(
        len(parquet.from_bytes(tiny.objects.get(path), path, ["image_id"])) for path in parts
    )


def main(data: str, dsn: str, pictures: str, spec: str, *steps: str) -> None:
    """Some steps as a program, which may run under another clock."""
    tiny = Tiny(Path(data), dsn, Path(pictures), ModelSpec.model_validate_json(spec))
    known = {step.__name__: step for step in (*STEPS, sweep)}
    for name in steps:
        known[name](tiny, "program")


if __name__ == "__main__":
    main(*sys.argv[1:])
