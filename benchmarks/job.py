"""One embedding job in its own process: its memory, and its start apart from loading the weights.

    python -m benchmarks.job [--model ViT-B-32] [--size "500 x 375"] [--images 400] [--turns 3]

The start is the time of a job with one image minus the time of loading the model alone in another
process: imports, reading the catalog, the first vector, the commit. On a busy machine, only
processor time is meaningful. The memory is the peak of a job with `--images` images, including the
weights. Needs no network: the weights are random.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.photos import SIZES, jpegs, photos
from clip_assets import catalog
from clip_assets.model import ModelSpec
from clip_assets.node import job as jobs
from clip_assets.node.job import EmbedJob
from clip_assets.source.config import FolderConfig
from clip_assets.source.open import open_source
from clip_assets.store.objects import Objects

LOAD = """
import sys, time
from clip_assets.model import ModelSpec
from clip_assets.node import encoder

wall, processor = time.perf_counter(), time.process_time()
model = encoder.load(ModelSpec.model_validate_json(sys.argv[1]), *encoder.every_gpu())
print(time.perf_counter() - wall, time.process_time() - processor)
print(sum(value.nbytes for value in model._model.state_dict().values()))
"""


@dataclass(frozen=True)
class Took:
    """Seconds of wall time and of the processors, and the peak of resident memory in MiB."""

    wall: float
    processor: float
    peak_mb: int = 0


def run(*command: str | Path, **environment: str) -> Took:
    """A program with all processes that it starts; memory is that of its largest one, at least that
    of this process.

    Raises CalledProcessError if it fails, with what it wrote.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*map(str, command)], stdout=log, stderr=log, env={**os.environ, **environment}
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            text = log.read().decode()
            raise subprocess.CalledProcessError(process.returncode, command, text)
    wall, processor = time.perf_counter() - started, used.ru_utime + used.ru_stime
    return Took(wall, processor, used.ru_maxrss // 1024)


def linked(folder: Path, files: list[bytes], images: int) -> None:
    """This many names; files with the same bytes are links to one file."""
    folder.mkdir()
    for number, data in enumerate(files[:images]):
        (folder / f"{number:07d}.jpg").write_bytes(data)
    for number in range(len(files), images):
        os.link(folder / f"{number % len(files):07d}.jpg", folder / f"{number:07d}.jpg")


def prepared(
    folder: Path, spec: ModelSpec, files: list[bytes], images: int
) -> tuple[Objects, EmbedJob]:
    """A collection of this many images in the folder, and the job that embeds it."""
    linked(folder / "images", files, images)
    objects = Objects(f"{folder}/data/photos")
    source = FolderConfig(uri=f"{folder}/images")
    head = catalog.refresh(objects, "photos", source, open_source(source).list(), 10_000)
    shards = tuple(catalog.select(head, "all"))
    job = EmbedJob(job_id="job", run_id="run", collection="photos", model=spec, shards=shards)
    return objects, job


def embedded(spec: ModelSpec, files: list[bytes], images: int) -> Took:
    """The time and memory of a whole job."""
    with tempfile.TemporaryDirectory() as folder:
        uri = jobs.write(*prepared(Path(folder), spec, files, images))
        return run(sys.executable, "-m", "clip_assets.node.embed", "--job", uri)


def loaded(spec: ModelSpec) -> tuple[Took, int]:
    """The time of loading, without imports, and the MiB of the weights."""
    command = [sys.executable, "-c", LOAD, spec.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wall, processor, size = map(float, done.stdout.split())
    return Took(wall, processor), int(size) >> 20


def measure(spec: ModelSpec, files: list[bytes], images: int, found: dict[str, float]) -> None:
    """Add the seconds of the start apart from loading, and MiB, to `found`."""
    load, weights = loaded(spec)
    one, many = embedded(spec, files, 1), embedded(spec, files, images)
    found |= {
        "load_seconds": round(load.wall, 1),
        "load_processor_seconds": round(load.processor, 1),
        "start_seconds": round(one.wall - load.wall, 1),
        "start_processor_seconds": round(one.processor - load.processor, 1),
        "weights_mb": weights,
        "peak_mb": many.peak_mb,
        "peak_mb_of_one_image": one.peak_mb,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--size", choices=SIZES, default="500 x 375")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--photos", type=Path, help="a folder with more photos")
    args = parser.parse_args()
    spec = ModelSpec(name=args.model, untrained_seed=0, precision=args.precision)
    files = jpegs(photos(args.photos), *SIZES[args.size])
    turns: list[dict[str, float]] = [{} for _ in range(args.turns)]
    for found in turns:
        measure(spec, files, args.images, found)
        print(json.dumps(found), os.getloadavg(), flush=True)
    print(json.dumps({key: statistics.median(one[key] for one in turns) for key in turns[0]}))


if __name__ == "__main__":
    main()
