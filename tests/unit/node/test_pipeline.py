"""The stages of a job overlap, keep the order, hold little in memory, and end on an error."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch

from clip_assets.errors import ModelError, StoreError
from clip_assets.model import ModelSpec
from clip_assets.node import pipeline as pipelines
from clip_assets.node.decode import PIPELINE
from clip_assets.node.encoder import Encoder, load
from clip_assets.node.pipeline import Pipeline
from clip_assets.node.prepare import Prepared, Recipe, Reject
from clip_assets.node.stages import limiting
from clip_assets.source import ImageRef
from tests.conftest import picture

BATCH = 2
BATCHES = (BATCH, 64)
"""With the larger one, a thread decodes several images before it hands them over."""
PICTURES = [picture(number) for number in range(8)]


class Pictures:
    """A source of pictures, one of them damaged; it counts what was read, and fails at `fails`."""

    def __init__(self, fails: int | None = None) -> None:
        self.fails, self.read_so_far = fails, 0
        self.skipped: Counter[str] = Counter()

    def list(self) -> Iterator[ImageRef]:
        return iter(refs(0))

    def read(self, refs: Sequence[ImageRef]) -> Iterator[bytes | OSError]:
        for ref in refs:
            number = int(ref.image_id)
            if number == self.fails:
                raise StoreError("the bucket is gone")
            self.read_so_far += 1
            yield b"damaged" if number == 3 else PICTURES[number % len(PICTURES)]


def refs(count: int, first: int = 0) -> list[ImageRef]:
    return [ImageRef(str(n), f"memory:{n}", "") for n in range(first, first + count)]


@pytest.fixture(scope="module")
def encoder(tiny_spec: ModelSpec) -> Encoder:
    return load(tiny_spec, "cpu")


@pytest.fixture(scope="module")
def recipe(encoder: Encoder) -> Recipe:
    return Recipe(encoder.transform, PIPELINE, lambda _: False)


@pytest.fixture(params=BATCHES)
def pipeline(encoder: Encoder, request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    with Pipeline(encoder, request.param) as opened:
        yield opened


def test_images_come_in_their_order(pipeline: Pipeline, recipe: Recipe) -> None:
    """Those of one call after those of the call before, each as what it is."""
    source = Pictures()
    begun = [pipeline.prepared(refs(30, first), source, recipe) for first in (0, 30)]
    found = [item for images in begun for item in images]
    assert [item.ref.image_id for item in found] == [str(number) for number in range(60)]
    assert [item.ref.image_id for item in found if isinstance(item, Reject)] == ["3"]


def test_no_more_is_read_than_there_is_room_for(pipeline: Pipeline, recipe: Recipe) -> None:
    """Whoever takes images decides how far the source is read."""
    source, ahead = Pictures(), 4 * pipeline.batch_size
    images = pipeline.prepared(refs(400), source, recipe)
    for taken, _ in enumerate(images, 1):
        # What a thread is given at once was read when there was no more room.
        assert source.read_so_far <= taken + ahead + pipelines._IMAGES_AT_ONCE


def test_a_thread_is_given_images_of_about_a_megabyte() -> None:
    """So a photo of a camera never waits for others."""
    sizes = [700, 600_000, 600_000, 2_000_000, *[1] * 20]
    images = zip(refs(len(sizes)), map(bytes, sizes), strict=True)
    assert [len(group) for group in pipelines._groups(images, 16)] == [3, 1, 16, 4]


def test_a_file_larger_than_all_room_passes(
    encoder: Encoder, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files wait for room of at least one byte."""
    monkeypatch.setattr(pipelines, "_BYTES_AHEAD", 10)
    with Pipeline(encoder, BATCH) as narrow:
        assert len(list(narrow.prepared(refs(20), Pictures(), recipe))) == 20


def test_an_error_of_the_source_is_raised_in_its_place(pipeline: Pipeline, recipe: Recipe) -> None:
    """The images before it are complete."""
    images = pipeline.prepared(refs(9), Pictures(fails=5), recipe)
    assert [next(images).ref.image_id for _ in range(5)] == ["0", "1", "2", "3", "4"]
    with pytest.raises(StoreError, match="the bucket is gone"):
        next(images)


def test_a_job_that_ends_early_leaves_no_thread(encoder: Encoder, recipe: Recipe) -> None:
    """Not even the one that waits for room."""
    before = threading.enumerate()
    with Pipeline(encoder, BATCH) as pipeline:
        next(pipeline.prepared(refs(1000), Pictures(), recipe))
    assert set(threading.enumerate()) <= set(before)


def test_a_failed_task_is_raised_by_a_later_one(pipeline: Pipeline) -> None:
    """A full disk ends the job before it embeds everything in vain: no more than two parts wait."""
    with pytest.raises(ZeroDivisionError):
        for task in (lambda: 1 / 0, int, int, int):
            pipeline.write(task)


def test_vectors_are_those_of_the_encoder(
    pipeline: Pipeline, recipe: Recipe, encoder: Encoder
) -> None:
    """A batch in the pipeline has bit for bit the vectors of the same batch outside of it."""
    items = pipeline.prepared(refs(3), Pictures(), recipe)
    pixels = [item.pixels for item in items if isinstance(item, Prepared)]
    assert np.array_equal(pipeline.encode(pixels).result(), encoder.encode_pixels(pixels))


def test_a_batch_that_does_not_fit_is_halved(
    tiny_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No image is lost or repeated; later batches are small at once; an error says what to do."""
    encoder = load(tiny_spec, "cpu")
    pixels = [np.full((32, 32, 3), 20 * n, np.uint8) for n in range(11)]
    whole = encoder.encode_pixels(pixels)
    fits, sizes = [3], []
    encode = Encoder._encode_batch

    def short_of_memory(self: Encoder, images: Sequence[np.ndarray], replica: object) -> object:
        sizes.append(len(images))
        if len(images) > fits[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(self, images, replica)  # type: ignore[arg-type]

    monkeypatch.setattr(Encoder, "_encode_batch", short_of_memory)
    assert np.allclose(encoder.encode_pixels(pixels), whole, atol=1e-5)
    assert sizes == [11, 5, 2, 2, 2, 2, 2, 1]
    sizes.clear()
    encoder.encode_pixels(pixels[:4])
    assert sizes == [2, 2]
    fits[0] = 0
    with pytest.raises(ModelError, match="does not fit in the memory of cpu"):
        encoder.encode_pixels(pixels)


def test_the_limiting_stage_is_the_busiest_for_its_threads() -> None:
    """Ten busy seconds of sixteen threads are less than two of one."""
    workers = {"decode": 16, "encode": 1}
    assert limiting({"decode": 10.0, "encode": 2.0}, workers) == "encode"
    assert limiting({"decode": 40.0, "encode": 2.0}, workers) == "decode"
    assert limiting({"decode": 0.0, "encode": 0.0}, workers) == ""
