"""Images per second on one machine with a GPU, and what limits them; one call, under ten minutes.

    python -m benchmarks.gpu [--out gpu.json] [--budget 540] [--photos FOLDER] [--models A,B]
    python -m benchmarks.gpu --models ViT-B-32 --images 400              # on a CPU

It needs no network and no checkpoint: the models have random weights, which are equally fast. The
JSON is rewritten after each step; a step that fails is recorded there, and the next one begins. The
figures for the table in docs/scale.md come first. On a CPU, 100 images or fewer say little about
`node`, because a job also encodes 104 texts.

    machine   what the device multiplies in bf16, and copies
    host      from bytes to pixels and thumbnail on all processors, with nothing else running
    encode    the model alone, from pixels in the host's memory to vectors in it, by batch size
    node      a whole job (fetch, decode, encode, write) ÷ the slower of the two above; on a CPU,
              which does both, the processor time of the two above ÷ that of the job
    plain     a DataLoader with open_clip's transform, as in clip-retrieval, ÷ the same job
    job       a job in its own process: peak memory, and the start in addition to loading
    nvjpeg    decoding on the GPU, without resizing, against the host's decoding
"""

import argparse
import io
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from benchmarks.job import prepared
from benchmarks.photos import SIZES, jpegs, photos
from clip_assets import catalog
from clip_assets.model import ModelSpec, Precision
from clip_assets.node import embed, encoder
from clip_assets.node.decode import PIPELINE
from clip_assets.node.encoder import Encoder
from clip_assets.node.prepare import Recipe, prepare
from clip_assets.node.transform import Transform
from clip_assets.processors import available
from clip_assets.source import ImageRef
from clip_assets.store import commit as commits

GIGAFLOPS = {"ViT-B-32": 8.8, "ViT-B-16-SigLIP": 46.0, "ViT-L-14": 162.0, "ViT-H-14": 335.0}
"""2 x multiply-adds of an image; OpenAI's and LAION's models, and SigLIP's from timm's tables."""
SMALL = ("256 x 256", "500 x 375")
CUDA = torch.cuda.is_available()
Found = dict[str, Any]


class Report:
    """The results so far, in a file that is complete after each step."""

    def __init__(self, out: Path, budget: float) -> None:
        self.results: dict[str, Any] = {}
        self._out, self._budget, self._started = out, budget, time.monotonic()

    @property
    def left(self) -> float:
        return self._budget - (time.monotonic() - self._started)

    def step(self, name: str, needs: float, measure: Callable[[Found], object]) -> bool:
        """Run `measure` if at least `needs` seconds are left; returns whether it succeeded."""
        found: Found = {}
        started, ended = time.monotonic(), False
        if self.left < needs:
            found["skipped"] = f"{self.left:.0f} s are left, {needs:.0f} are needed"
        else:
            try:
                measure(found)
                ended = True
            except Exception:  # the other steps are worth having
                found["failed"] = traceback.format_exc()
        found["took_seconds"] = round(time.monotonic() - started, 1)
        self.results[name] = found
        self.results["peak_host_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        self._write()
        print(f"{name}: {json.dumps(found)}", flush=True)
        return ended

    def rate(self, name: str) -> float:
        """Images per second that this step found, or not-a-number."""
        return float(self.results.get(name, {}).get("images_per_second", float("nan")))

    def processor(self, name: str) -> float:
        """Milliseconds of the processors that an image took in this step, or not-a-number."""
        return float(self.results.get(name, {}).get("processor_ms", float("nan")))

    def ratio(self, step: str, name: str, to: float) -> None:
        """Add to a step the ratio of its rate to another step's."""
        self._put(step, name, self.rate(step) / to)

    def share_of_processors(self, step: str, *parts: str) -> None:
        """Add to a CPU-only step the ratio of its parts' processor time to its own.

        This is independent of other load on the machine.
        """
        needed = sum(map(self.processor, parts))
        self._put(step, "share_of_limit", needed / self.processor(step))

    def _put(self, step: str, name: str, value: float) -> None:
        if math.isfinite(value):  # otherwise one of the steps was skipped or failed
            self.results[step][name] = round(value, 3)
            self._write()

    def _write(self) -> None:
        self._out.write_text(json.dumps(self.results, indent=1) + "\n")


class Rate:
    """Images per second since its creation, and their processor time."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._wall

    def of(self, images: int) -> Found:
        used = time.process_time() - self._processor
        return {
            "images_per_second": round(images / self.seconds, 1),
            "processor_ms": round(used / images * 1000, 2),
        }


def synchronised(call: Callable[[], object]) -> None:
    call()
    if CUDA:
        torch.cuda.synchronize()


def per_call(call: Callable[[], object], seconds: float) -> float:
    """Median seconds of a call, after two warm-up calls."""
    for _ in range(2):
        synchronised(call)
    took: list[float] = []
    started = time.perf_counter()
    while len(took) < 3 or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        synchronised(call)
        took.append(time.perf_counter() - before)
    return float(np.median(took))


def machine(seconds: float, found: Found) -> None:
    side = 8192 if CUDA else 1024
    device = "cuda" if CUDA else "cpu"
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    found["torch"] = torch.__version__
    found["device"] = torch.cuda.get_device_name() if CUDA else "cpu"
    found["processors"] = available()
    found["bf16_tflops"] = round(2 * side**3 / per_call(lambda: left @ right, seconds) / 1e12, 3)
    if CUDA:
        pinned = torch.empty(1 << 28, dtype=torch.uint8, pin_memory=True)
        there = torch.empty_like(pinned, device="cuda")
        copy = per_call(lambda: there.copy_(pinned, non_blocking=True), seconds)
        found["to_device_gb_per_second"] = round(pinned.numel() / copy / 1e9, 1)


def host(files: list[bytes], seconds: float, found: Found) -> None:
    """Images per second on all processors."""
    recipe = Recipe(Transform(PreprocessCfg(size=224)), PIPELINE, lambda _: False)
    one = ImageRef("a", "memory:a", "")
    with ThreadPoolExecutor(available()) as pool:
        rate, done = Rate(), 0
        while rate.seconds < seconds:
            done += len(list(pool.map(lambda data: prepare(one, data, recipe), files * 4)))
        found |= rate.of(done)


def encode(model: Encoder, seconds: float, found: Found) -> None:
    """Images per second of the model alone, two batches at once as in the pipeline."""
    batches = [256, 512, 1024] if CUDA else [model.batch_size]
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    pixels = np.random.default_rng(0).integers(0, 256, (max(batches), *_shape(model)), np.uint8)
    for size in batches:
        images = list(pixels[:size])
        threads = 2 if CUDA else 1
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(model.encode_pixels, [images] * threads))
            rate, done = Rate(), 0
            while rate.seconds < seconds:
                done += sum(map(len, pool.map(model.encode_pixels, [images] * threads * 2)))
        of_batch = rate.of(done)
        found[f"batch_{size}"] = of_batch["images_per_second"]
        if of_batch["images_per_second"] >= found.get("images_per_second", 0.0):
            found |= of_batch
    if CUDA:
        found["device_memory_mb"] = torch.cuda.max_memory_allocated() >> 20


def compiled(model: Encoder, seconds: float, found: Found) -> None:
    """Whether torch.compile pays back within a shard of 10,000 images."""
    tower = model._replicas[0].model.visual
    batch = torch.zeros(256, 3, *_shape(model)[:2], device=model.device, dtype=model._dtype)
    with torch.inference_mode():
        plain = per_call(lambda: tower(batch), seconds)
        fast = torch.compile(tower)
        started = time.perf_counter()
        synchronised(lambda: fast(batch))
        start = time.perf_counter() - started
        found["compile_seconds"] = round(start, 1)
        found["compiled_ratio"] = round(plain / per_call(lambda: fast(batch), seconds), 3)
    saved = (plain - plain / found["compiled_ratio"]) * 10_000 / 256
    found["compile_saves_seconds_of_10000"] = round(saved - start, 1)


def _shape(model: Encoder) -> tuple[int, ...]:
    return model.transform(np.zeros((300, 300, 3), np.uint8)).shape


def node(model: Encoder, spec: ModelSpec, files: list[bytes], images: int, found: Found) -> None:
    """Images per second of a whole job over so many files; its model is loaded already."""
    with tempfile.TemporaryDirectory() as folder:
        objects, job = prepared(Path(folder), spec, files, images)
        rate = Rate()
        embed.run(objects, job, model)
        found |= rate.of(images)
        shards = catalog.require(objects, "photos").shards
        made = [commits.read(objects, spec.slug, shard.at) for shard in shards]
    limits = [commit.limited_by for commit in made if commit]
    found |= {
        "images": images,
        "limited_by": max(set(limits), key=limits.count),
        "stage_seconds": {
            stage: round(sum(commit.stage_seconds[stage] for commit in made if commit), 2)
            for stage in ("fetch", "decode", "encode", "write")
        },
    }


def in_own_process(spec: ModelSpec, images: int, found: Found) -> None:
    """By a process that is small itself: the peak of a child is at least its parent's memory."""
    options = ["--model", spec.name, "--precision", spec.precision, "--images", str(images)]
    command = [sys.executable, "-m", "benchmarks.job", "--turns", "1", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found |= json.loads(done.stdout.splitlines()[-1])


class _Plain(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, files: list[bytes], images: int) -> None:
        self._files, self._images = files, images
        self._transform = image_transform_v2(PreprocessCfg(size=224), is_train=False)

    def __len__(self) -> int:
        return self._images

    def __getitem__(self, number: int) -> torch.Tensor:
        image = Image.open(io.BytesIO(self._files[number % len(self._files)])).convert("RGB")
        tensor: torch.Tensor = self._transform(image)
        return tensor


def plain(model: Encoder, files: list[bytes], images: int, found: Found) -> None:
    """Images per second as most write it: worker processes, float batches, fp32 vectors."""
    loader = torch.utils.data.DataLoader(
        _Plain(files, images), batch_size=model.batch_size, num_workers=available(), pin_memory=CUDA
    )
    started, done, first = time.perf_counter(), 0, 0
    with torch.inference_mode():
        for tensors in loader:
            found_vectors = model._model.encode_image(tensors.to(model.device, model._dtype))
            torch.nn.functional.normalize(found_vectors.float(), dim=-1).cpu().numpy()
            done += len(tensors)
            if not first:  # the workers' start is not counted
                started, first = time.perf_counter(), done
    found["images_per_second"] = round((done - first) / (time.perf_counter() - started), 1)


def nvjpeg(files: list[bytes], seconds: float, found: Found) -> None:
    from torchvision.io import ImageReadMode, decode_jpeg

    data = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in files * 16]
    mode = ImageReadMode.RGB
    call = partial(decode_jpeg, data, mode=mode, device="cuda")
    found["images_per_second"] = round(len(data) / per_call(call, seconds), 1)


def measure(report: Report, args: argparse.Namespace) -> None:
    sources = photos(args.photos)
    files = {name: jpegs(sources, *SIZES[name]) for name in SMALL}
    report.step("machine", 5, partial(machine, args.seconds))
    for name, data in files.items():
        report.step(f"host {name}", 5, partial(host, data, 2 * args.seconds))
    if CUDA:
        report.step("nvjpeg 500 x 375", 10, partial(nvjpeg, files["500 x 375"], args.seconds))
    specs = [of_precision(name) for name in args.models.split(",")]
    loaded = {spec: of_model(report, args, spec, files) for spec in specs}
    report.step("job", 60, partial(in_own_process, specs[0], args.images or 4_000))
    for spec, model in loaded.items():
        if CUDA and model:
            report.step(f"{spec.name} compile", 60, partial(compiled, model, args.seconds))


def of_precision(name: str) -> ModelSpec:
    precision: Precision = "bf16" if CUDA else "fp32"
    return ModelSpec(name=name, untrained_seed=0, precision=precision)


def of_model(
    report: Report, args: argparse.Namespace, spec: ModelSpec, files: dict[str, list[bytes]]
) -> Encoder | None:
    """Measures the model; returns it if it could be loaded."""
    name = spec.name
    loaded: list[Encoder] = []
    if not report.step(f"{name} load", 30, lambda _: loaded.append(load(spec))):
        return None
    (model,) = loaded
    report.step(f"{name} encode", 15, partial(encode, model, 2 * args.seconds))
    alone = report.rate(f"{name} encode")
    for size, data in files.items():
        limit = min(alone, report.rate(f"host {size}"))
        images = args.images or int(np.clip(np.nan_to_num(limit) * 10, 4_000, 60_000))
        step = f"{name} node {size}"
        report.step(step, 25, partial(node, model, spec, data, images))
        if CUDA:
            report.ratio(step, "share_of_limit", limit)
        else:
            report.share_of_processors(step, f"{name} encode", f"host {size}")
    if name == "ViT-B-32":
        images = args.images or int(np.nan_to_num(report.rate("host 500 x 375")) * 5)
        images = max(images, 2 * model.batch_size)  # the first batch is not counted
        step = f"{name} plain 500 x 375"
        report.step(step, 30, partial(plain, model, files["500 x 375"], images))
        report.ratio(f"{name} node 500 x 375", "ratio_to_plain", report.rate(step))
    teraflops = report.results["machine"].get("bf16_tflops", float("nan"))
    most = teraflops * 1000 / GIGAFLOPS.get(name, float("nan"))
    report.ratio(f"{name} encode", "share_of_bf16_matmul", most)
    return model


def load(spec: ModelSpec) -> Encoder:
    """Without the tokenizer of SigLIP, which would have to be fetched: its text tower takes the
    same time for any tokens."""
    if "SigLIP" not in spec.name:
        return encoder.load(spec)
    length = open_clip.get_model_config(spec.name)["text_cfg"]["context_length"]
    usual = encoder._tokenizer
    encoder._tokenizer = lambda _: lambda texts: torch.ones((len(texts), length), dtype=torch.long)
    try:
        return encoder.load(spec)
    finally:
        encoder._tokenizer = usual


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--budget", type=float, default=540, help="seconds")
    parser.add_argument("--photos", type=Path, help="a folder with more photos")
    parser.add_argument("--models", default=",".join(GIGAFLOPS))
    parser.add_argument("--images", type=int, help="of each job; by default ten seconds' worth")
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement")
    args = parser.parse_args()
    measure(Report(args.out, args.budget), args)


if __name__ == "__main__":
    main()
