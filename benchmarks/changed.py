"""What a change to an embedded collection costs: images encoded, seconds, processor time.

    .venv/bin/python -m benchmarks.changed --images 10000

One image is changed, one is touched, one is deleted, and the whole folder is copied elsewhere. Each
time the catalog is listed again and its shards are embedded, with a model that is already loaded.
Wall time means little on a busy machine. Needs no network: the model is the sample's.
"""

import argparse
import io
import os
import shutil
import struct
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from clip_assets import catalog
from clip_assets.model import ModelSpec
from clip_assets.node import embed, encoder
from clip_assets.node.encoder import Encoder
from clip_assets.node.job import EmbedJob
from clip_assets.source.config import FolderConfig
from clip_assets.source.open import open_source
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects

SAMPLE = Path(__file__).parents[1] / "sample/clip-sample"
PICTURES = 20  # each image has one of these, with its own comment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    given = parser.parse_args()
    spec = ModelSpec(name=f"local-dir:{SAMPLE}")
    model = encoder.load(spec, *encoder.every_gpu())
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write(root / "in", given.images)
        objects = Objects(f"{root}/data/photos")
        measured("all of them", objects, root / "in", spec, model)
        first, second, third, *_ = sorted((root / "in").iterdir())
        first.write_bytes(_commented(first.read_bytes(), "changed"))
        measured("one changed", objects, root / "in", spec, model)
        os.utime(second, (1, 1))
        measured("one touched", objects, root / "in", spec, model)
        third.unlink()
        measured("one deleted", objects, root / "in", spec, model)
        shutil.copytree(root / "in", root / "copied")
        measured("the folder copied", objects, root / "copied", spec, model)


def write(folder: Path, images: int) -> None:
    """JPEGs of 500 x 375 pixels, no two with the same bytes."""
    folder.mkdir()
    noise = np.random.default_rng(0)
    pictures = []
    for _ in range(PICTURES):
        file = io.BytesIO()
        blocks = Image.fromarray(noise.integers(0, 256, (25, 33, 3), dtype=np.uint8))
        blocks.resize((500, 375), Image.Resampling.BICUBIC).save(file, "JPEG", quality=88)
        pictures.append(file.getvalue())
    for number in range(images):
        data = _commented(pictures[number % PICTURES], str(number))
        (folder / f"{number:07d}.jpg").write_bytes(data)


def _commented(jpeg: bytes, text: str) -> bytes:
    """The same picture with other bytes."""
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(text)) + text.encode() + jpeg[2:]


def measured(what: str, objects: Objects, folder: Path, spec: ModelSpec, model: Encoder) -> None:
    wall, processor = time.perf_counter(), time.process_time()
    source = FolderConfig(uri=str(folder))
    head = catalog.refresh(objects, "photos", source, open_source(source).list(), 10_000)
    listed = time.process_time() - processor
    shards = tuple(catalog.select(head, "all"))
    job = EmbedJob(job_id="job", run_id="run", collection="photos", model=spec, shards=shards)
    embed.run(objects, job, model)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    newest = commits.newest(objects, spec.slug).values()
    made = [commits.read_path(objects, path) for path in newest]
    print(
        f"{what:<18}{sum(one.images_encoded for one in made):>7,} encoded, "
        f"{sum(one.images_carried for one in made):>7,} carried over, {wall:6.1f} s, "
        f"{processor:6.1f} processor-seconds, {listed:.1f} of them listing",
        flush=True,
    )


if __name__ == "__main__":
    main()
