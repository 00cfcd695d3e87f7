"""The host's work for an image, from bytes to pixels and thumbnail, compared with the plain way.

    python -m benchmarks.host [--photos FOLDER] [--seconds 3] [--turns 5] [--threads 1 2] [--out F]

The plain way is what this product did before, and what most programs do: Pillow decodes the whole
photo, open_clip's own transform converts it to floats, and the thumbnail is a WebP of the whole
photo. Each figure is processor time of one core; both ways alternate, and the ratio is the median
of the turns. `--threads` also measures images per second on that many threads, which needs a quiet
machine.
"""

import argparse
import hashlib
import io
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from benchmarks.photos import SIZES, jpegs, photos
from clip_assets.node.decode import decode
from clip_assets.node.resize import thumbnail
from clip_assets.node.transform import Transform

CONFIG = PreprocessCfg(size=224)
PLAIN, OURS = image_transform_v2(CONFIG, is_train=False), Transform(CONFIG)
Step = Callable[[bytes], object]


def plain(data: bytes) -> None:
    hashlib.sha256(data).hexdigest()
    image = Image.open(io.BytesIO(data)).convert("RGB")
    webp(image)
    PLAIN(image)


def ours(data: bytes) -> None:
    hashlib.sha256(data).hexdigest()
    pixels = decode(data, enough=OURS.enough).pixels
    thumbnail(pixels)
    OURS(pixels)


def webp(image: Image.Image) -> bytes:
    scale = 256 / max(image.size)
    size = round(image.width * scale), round(image.height * scale)
    file = io.BytesIO()
    small = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    small.save(file, "WEBP", quality=80, method=2)
    return file.getvalue()


def stages(data: list[bytes]) -> dict[str, tuple[Step, list[object]]]:
    """Each step alone, with its input."""
    images = [Image.open(io.BytesIO(one)).convert("RGB") for one in data]
    pixels = [decode(one, enough=OURS.enough).pixels for one in data]
    return {
        "sha256": (lambda one: hashlib.sha256(one).hexdigest(), [*data]),
        "plain: decode": (lambda one: Image.open(io.BytesIO(one)).convert("RGB"), [*data]),
        "plain: transform": (PLAIN, [*images]),
        "plain: thumbnail": (webp, [*images]),  # type: ignore[dict-item]
        "ours: decode": (lambda one: decode(one, enough=OURS.enough), [*data]),
        "ours: resize": (OURS, [*pixels]),  # type: ignore[dict-item]
        "ours: thumbnail": (thumbnail, [*pixels]),  # type: ignore[dict-item]
    }


def milliseconds(step: Step, inputs: list[object], seconds: float) -> float:
    """Processor time of one call, over at least `seconds` of it and two calls."""
    started, calls = time.process_time(), 0
    while calls < 2 or time.process_time() - started < seconds:
        step(inputs[calls % len(inputs)])  # type: ignore[arg-type]
        calls += 1
    return (time.process_time() - started) / calls * 1000


def per_second(step: Step, inputs: list[bytes], threads: int, seconds: float) -> float:
    """Images per second of wall time on this many threads."""
    with ThreadPoolExecutor(threads) as pool:
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            done += len(list(pool.map(step, inputs)))
        return done / (time.perf_counter() - started)


def overhead(seconds: float) -> float:
    """Milliseconds for an image so small that nearly all of the time is Python's, under the
    interpreter's lock: this limits the images per second of any number of threads."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    small = Transform(PreprocessCfg(size=8))

    def one(data: bytes) -> None:
        hashlib.sha256(data).hexdigest()
        pixels = decode(data, enough=small.enough).pixels
        thumbnail(pixels)
        small(pixels)

    return milliseconds(one, [file.getvalue()], seconds)  # type: ignore[arg-type]


def drift(data: list[bytes]) -> dict[str, float]:
    """Difference of the model's pixels from open_clip's, in levels of 255."""
    differences = []
    mean, deviation = (np.array(value)[:, None, None] for value in (CONFIG.mean, CONFIG.std))
    for one in data:
        theirs = PLAIN(Image.open(io.BytesIO(one)).convert("RGB")).numpy() * deviation + mean
        found = OURS(decode(one, enough=OURS.enough).pixels).transpose(2, 0, 1)
        differences.append(np.abs(theirs * 255 - found).mean())
    return {"mean": float(np.mean(differences)), "worst photo": float(np.max(differences))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    sources = photos(args.photos)
    result: dict[str, object] = {"photos": len(sources), "torch": torch.__version__}
    for name, (width, height) in SIZES.items():
        data = jpegs(sources, width, height)
        turns = [
            [milliseconds(way, [*data], args.seconds / args.turns) for way in (plain, ours)]
            for _ in range(args.turns)
        ]
        found = {
            "bytes": round(statistics.mean(map(len, data))),
            "plain_ms": round(statistics.median(turn[0] for turn in turns), 3),
            "ours_ms": round(statistics.median(turn[1] for turn in turns), 3),
            "ratio": round(statistics.median(a / b for a, b in turns), 2),
            "stages_ms": {
                stage: round(milliseconds(*step, args.seconds / 5), 3)
                for stage, step in stages(data).items()
            },
            "decode_ms_at": {
                f"1/{fraction}": round(
                    milliseconds(
                        partial(decode, enough=min(width, height) // fraction),
                        [*data],
                        args.seconds / 5,
                    ),
                    3,
                )
                for fraction in (1, 2, 4, 8)
            },
            "thumbnail_bytes": {
                "webp": round(
                    statistics.mean(
                        len(webp(Image.open(io.BytesIO(one)).convert("RGB"))) for one in data
                    )
                ),
                "jpeg": round(statistics.mean(len(thumbnail(decode(one).pixels)) for one in data)),
            },
            "levels_from_open_clip": drift(data),
            "images_per_second": {
                threads: round(per_second(ours, data * 4, threads, args.seconds), 1)
                for threads in args.threads
            },
        }
        result[name] = found
        print(name, json.dumps(found, indent=1), flush=True)
    result["interpreter_ms"] = round(overhead(args.seconds / 5), 4)
    print("interpreter_ms", result["interpreter_ms"])
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
