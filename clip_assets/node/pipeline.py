"""The stages from the source to the store, which run concurrently in bounded memory:

    fetch    one thread, ahead of the others; the source keeps several connections busy
    decode   a thread per processor: hash, decode, resize, thumbnail; small images in groups
    encode   two threads per GPU, so that one copies while the other computes; one on a CPU
    write    one thread: parquet, upload, commit

Threads, because the expensive parts (hashlib, the decoders, torch) release the interpreter's lock;
processes would have to copy every image. Images leave in the order in which they were requested, so
the same input gives the same batches.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import BoundedSemaphore, Condition
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from clip_assets.node.decode import Pixels
from clip_assets.node.encoder import Encoder
from clip_assets.node.prepare import Known, Prepared, Recipe, Reject, prepare
from clip_assets.node.stages import Stages
from clip_assets.processors import available
from clip_assets.source import ImageRef, Source

Item = Prepared | Reject | Known
_Read = tuple[ImageRef, bytes | OSError]
_Result = TypeVar("_Result")
_BATCHES_AHEAD = 4
_BYTES_AHEAD = 256 << 20
_PARTS_TO_WRITE = 2
_IMAGES_AT_ONCE, _BYTES_AT_ONCE = 16, 1 << 20
"""What a thread decodes at a time: a small image takes less than a millisecond, and passing on each
by itself would be a fifth of that."""
_TASKS_AHEAD = 4
"""Tasks queued for each decoding thread, so that none waits for images while there is room."""


class Pipeline:
    """The threads of one job. Leaving the context finishes started work and starts no more."""

    def __init__(self, encoder: Encoder, batch_size: int | None = None) -> None:
        self.batch_size = batch_size or encoder.batch_size
        self._encoder = encoder
        threads, encoding = available(), encoder.gpus * 2 or 1
        self.workers = {"fetch": 1, "decode": threads, "encode": encoding, "write": 1}
        self.stages = Stages(self.workers)
        self._fetch, self._decode, self._encode, self._write = (
            ThreadPoolExecutor(count, stage) for stage, count in self.workers.items()
        )
        ahead = _BATCHES_AHEAD * self.batch_size * max(1, encoder.gpus)
        self._room = _Room(ahead, _BYTES_AHEAD)
        self._at_once = max(1, min(_IMAGES_AT_ONCE, ahead // (_TASKS_AHEAD * threads)))
        self._encoding = BoundedSemaphore(encoding + 1)
        self._gpus: SimpleQueue[int] = SimpleQueue()
        for number in range(encoding):
            self._gpus.put(number % max(1, encoder.gpus))
        self._unwritten: deque[Future[Any]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._room.close()
        for pool in (self._fetch, self._decode):
            pool.shutdown(cancel_futures=True)
        for pool in (self._write, self._encode):
            pool.shutdown()

    def prepared(self, refs: Sequence[ImageRef], source: Source, recipe: Recipe) -> Iterator[Item]:
        """The outcome of each image, in order. Reading starts now, after the images of earlier
        calls, as far as there is room."""
        decoding: SimpleQueue[Future[list[Item]] | BaseException | None] = SimpleQueue()
        self._fetch.submit(self._read, refs, source, recipe, decoding)
        return self._in_order(decoding)

    def encode(self, images: Sequence[Pixels]) -> Future[NDArray[np.float32]]:
        """Unit vectors float32[n, dim] of transformed images. Blocks while the devices have enough
        work."""
        self._encoding.acquire()
        return self._encode.submit(self._encoded, images)

    def write(self, task: Callable[[], _Result]) -> Future[_Result]:
        """Run `task` after all earlier ones. Blocks while many are waiting, and raises the error of
        one that failed."""
        future = self._write.submit(task)
        self._unwritten.append(future)
        waiting = self._unwritten
        while waiting and (len(waiting) > _PARTS_TO_WRITE or waiting[0].done()):
            waiting.popleft().result()
        return future

    def _read(
        self,
        refs: Sequence[ImageRef],
        source: Source,
        recipe: Recipe,
        decoding: "SimpleQueue[Future[list[Item]] | BaseException | None]",
    ) -> None:
        try:
            read = self.stages.each("fetch", source.read(refs))
            for images in _groups(zip(refs, read, strict=True), self._at_once):
                self._room.take(len(images), _size(images))
                decoding.put(self._decode.submit(self._prepared, images, recipe))
            decoding.put(None)
        except BaseException as error:  # raised where the images are awaited
            decoding.put(error)

    def _prepared(self, images: Sequence[_Read], recipe: Recipe) -> list[Item]:
        try:
            with self.stages.busy("decode"):
                return [prepare(ref, data, recipe) for ref, data in images]
        finally:
            self._room.give(size=_size(images))

    def _in_order(
        self, decoding: "SimpleQueue[Future[list[Item]] | BaseException | None]"
    ) -> Iterator[Item]:
        while (item := decoding.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            results = item.result()
            yield from results
            self._room.give(images=len(results))

    def _encoded(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        gpu = self._gpus.get()
        try:
            with self.stages.busy("encode"):
                return self._encoder.encode_pixels(images, gpu)
        finally:
            self._gpus.put(gpu)
            self._encoding.release()


def _groups(images: Iterable[_Read], most: int) -> Iterator[list[_Read]]:
    """Groups of up to `most` images, fewer if they are large; an error ends the last group."""
    group: list[_Read] = []
    try:
        for image in images:
            group.append(image)
            if len(group) == most or _size(group) >= _BYTES_AT_ONCE:
                yield group
                group = []
    except Exception:
        if group:
            yield group
        raise
    if group:
        yield group


def _size(images: Iterable[_Read]) -> int:
    return sum(len(data) for _, data in images if isinstance(data, bytes))


class _Room:
    """Room for a number of images, and for bytes that are not decoded yet."""

    def __init__(self, images: int, size: int) -> None:
        self._images, self._size = images, size
        self._changed = Condition()
        self._closed = False

    def take(self, images: int, size: int) -> None:
        """Wait until there is any room left; the images taken last may exceed it."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._images > 0 and self._size > 0))
            if self._closed:
                raise RuntimeError("the pipeline is closed")
            self._images -= images
            self._size -= size

    def give(self, images: int = 0, size: int = 0) -> None:
        with self._changed:
            self._images += images
            self._size += size
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
