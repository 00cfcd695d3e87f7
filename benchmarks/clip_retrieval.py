"""A whole embedding job compared with clip-retrieval's: the same files, weights and device.

    python3.11 -m venv /tmp/theirs && /tmp/theirs/bin/pip install clip-retrieval==2.45.0
    /tmp/theirs/bin/pip install --no-deps setuptools==69.5.1
    python -m benchmarks.clip_retrieval /tmp/theirs/bin/clip-retrieval [--images 192] [--turns 3]

Each program is started as its users start it. A turn runs each on a few images and on many: the few
measure the start (imports, loading, warming up), and the difference is the cost of an image.
Processor time is that of all processes; on a busy machine, only this figure is meaningful. Without
a GPU, the model takes nearly all of it, so both programs also run without the model, like a job
whose GPU waits for images. Needs no network: the weights are random, saved once.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from benchmarks.job import Took, linked, run
from benchmarks.photos import SIZES, jpegs, photos
from clip_assets import catalog
from clip_assets.model import ModelSpec, Precision
from clip_assets.processors import available
from clip_assets.store import commit as commits
from clip_assets.store import parquet
from clip_assets.store.objects import Objects

FEW = 16
READ_BY_THEM = """
import sys
import open_clip
from clip_retrieval.clip_inference.reader import FilesReader

folder, batch, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
transform = open_clip.image_transform(224, is_train=False)
reader = FilesReader(
    lambda keys: keys, transform, None, folder, batch, workers, enable_text=False
)
for batch in reader:
    batch["image_tensor"]
"""
READ_BY_US = """
import sys
from types import SimpleNamespace
from open_clip.transform import PreprocessCfg
from clip_assets.node.decode import PIPELINE
from clip_assets.node.pipeline import Pipeline
from clip_assets.node.prepare import Recipe
from clip_assets.node.transform import Transform
from clip_assets.source.config import FolderConfig
from clip_assets.source.open import open_source

source = open_source(FolderConfig(uri=sys.argv[1]))
recipe = Recipe(Transform(PreprocessCfg(size=224)), PIPELINE, lambda _: False)
with Pipeline(SimpleNamespace(batch_size=int(sys.argv[2]), gpus=1)) as pipeline:
    for image in pipeline.prepared(list(source.list()), source, recipe):
        image.pixels
"""
"""Programs that do all but encode, so that a GPU would wait for them. Ours also hashes each file
and makes its thumbnail."""
Vectors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Setting:
    """What both are given."""

    model: str
    checkpoint: Path
    batch_size: int

    def theirs(self, program: Path, images: Path, to: Path) -> Took:
        return run(
            *(program, "inference", "--input_dataset", images, "--output_folder", to),
            *("--enable_text", "False", "--clip_model"),
            f"open_clip:{self.model}/{self.checkpoint}",
            *("--batch_size", str(self.batch_size), "--num_prepro_workers", str(available())),
            HF_HUB_OFFLINE="1",
        )

    def ours(self, precision: Precision, images: Path, to: Path) -> Took:
        place = ("--data", to, "--collection", "photos")
        module = (sys.executable, "-m")
        listed = run(*module, "clip_assets.node.catalog", *place, "--uri", images)
        embedded = run(
            *(*module, "clip_assets.node.embed", *place, "--model", self.model),
            *("--pretrained", self.checkpoint, "--precision", precision),
            *("--batch-size", str(self.batch_size)),
        )
        return Took(listed.wall + embedded.wall, listed.processor + embedded.processor)

    def found_by_us(self, precision: Precision, to: Path) -> Vectors:
        objects = Objects(f"{to}/photos")
        slug = ModelSpec(name=self.model, pretrained=str(self.checkpoint), precision=precision).slug
        found: Vectors = {}
        for shard in catalog.require(objects, "photos").shards:
            commit = commits.read(objects, slug, shard.at)
            for part in commit.parts if commit else ():
                table = commits.read_part(objects, part)
                names = table.column("image_id").to_pylist()
                found |= dict(zip(names, parquet.vectors(table), strict=True))
        return found


def found_by_them(to: Path) -> Vectors:
    vectors = np.load(to / "img_emb/img_emb_0.npy").astype(np.float32)
    names = pq.read_table(to / "metadata/metadata_0.parquet").column("image_path").to_pylist()
    return {Path(name).name: vector for name, vector in zip(names, vectors, strict=True)}


def turn(
    setting: Setting, program: Path, precisions: list[Precision], few: Path, many: Path
) -> dict[str, dict[str, float]]:
    """Start and images of each, in milliseconds of an image where nothing else is said."""
    count = len([*many.iterdir()]) - FEW
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        ways = {"theirs": partial(setting.theirs, program)}
        ways |= {f"ours {precision}": partial(setting.ours, precision) for precision in precisions}
        for name, way in ways.items():
            start = way(few, Path(folder, name, "few"))
            all_ = way(many, Path(folder, name, "many"))
            found[name] = {
                "start_processor_seconds": start.processor,
                "processor_ms": (all_.processor - start.processor) / count * 1000,
                "images_per_second": count / (all_.wall - start.wall),
            }
        theirs = found_by_them(Path(folder, "theirs/many"))
        for precision in precisions:
            ours = setting.found_by_us(precision, Path(folder, f"ours {precision}/many"))
            assert theirs.keys() == ours.keys()
            cosines = [
                float(ours[name] @ vector / np.linalg.norm(vector))
                for name, vector in theirs.items()
            ]
            found[f"ours {precision}"]["least_cosine"] = min(cosines)
    return found


def turn_of_reading(python: Path, few: Path, many: Path) -> dict[str, dict[str, float]]:
    """Processor time of an image from its file to the pixels that a model sees."""
    count = len([*many.iterdir()]) - len([*few.iterdir()])
    options = ("512", str(available()))
    found = {}
    for name, program, text in (
        ("theirs, reading", python, READ_BY_THEM),
        ("ours, reading", sys.executable, READ_BY_US),
    ):
        start, all_ = (run(program, "-c", text, folder, *options) for folder in (few, many))
        found[name] = {
            "processor_ms": (all_.processor - start.processor) / count * 1000,
            "images_per_second": count / (all_.wall - start.wall),
        }
    return found


def checkpoint(model: str, folder: Path) -> Path:
    torch.manual_seed(0)
    file = folder / f"{model}.pt"
    torch.save(open_clip.create_model(model, load_weights=False).state_dict(), file)
    return file


def medians(turns: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Of each figure, and of its ratios to theirs in the same turn: more is better."""
    result = {
        name: {key: round(statistics.median(one[name][key] for one in turns), 5) for key in figures}
        for name, figures in turns[0].items()
    }
    for name, figures in result.items():
        theirs = "theirs, reading" if "reading" in name else "theirs"
        pairs = [(one[name], one[theirs]) for one in turns]
        for key, ratios in {
            "processor_ratio": [b["processor_ms"] / a["processor_ms"] for a, b in pairs],
            "rate_ratio": [a["images_per_second"] / b["images_per_second"] for a, b in pairs],
        }.items():
            figures[key] = round(statistics.median(ratios), 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program", type=Path, help="clip-retrieval of its own environment")
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--size", choices=SIZES, default="500 x 375")
    parser.add_argument("--photos", type=Path, help="a folder with more")
    parser.add_argument("--images", type=int, default=192, help="to embed, beyond the few")
    parser.add_argument("--read", type=int, default=3000, help="images to read only")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=256 if torch.cuda.is_available() else 32)
    parser.add_argument("--precisions", nargs="*", default=["fp32", "bf16"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(args.model, checkpoint(args.model, Path(folder)), args.batch_size)
        few, many, read = (Path(folder, name) for name in ("few", "many", "read"))
        files = jpegs(photos(args.photos), *SIZES[args.size])
        for to, count in ((few, FEW), (many, FEW + args.images), (read, FEW + args.read)):
            linked(to, files, count)
        turns = []
        for _ in range(args.turns):
            turns.append(turn_of_reading(args.program.with_name("python"), few, read))
            if args.precisions:
                turns[-1] |= turn(setting, args.program, args.precisions, few, many)
            print(json.dumps(turns[-1]), os.getloadavg(), flush=True)
    result = json.dumps(medians(turns), indent=1)
    print(result)
    if args.out:
        args.out.write_text(result + "\n")


if __name__ == "__main__":
    main()
