"""Turns image bytes into input tensors for the model, on all cores, a few batches ahead."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from PIL.Image import Image
from torch import Tensor

from clip_assets.node.decode import Rejected, decode, thumbnail
from clip_assets.processors import available
from clip_assets.source import ImageRef


@dataclass(frozen=True)
class Prepared:
    """One decoded image: `tensor` is float32[3, h, w], `sha256` of the file's bytes."""

    ref: ImageRef
    sha256: str
    width: int
    height: int
    thumbnail: bytes
    tensor: Tensor


@dataclass(frozen=True)
class Reject:
    """One image that cannot be embedded, and why."""

    ref: ImageRef
    reason: str


def prepare(
    read: Iterable[tuple[ImageRef, bytes | OSError]],
    preprocess: Callable[[Image], Tensor],
    ahead: int,
) -> Iterator[Prepared | Reject]:
    """Decode in threads and yield in order, at most `ahead` images early.

    Pillow releases the GIL while it decodes and resizes, so threads use every core.
    """
    window: deque[Future[Prepared | Reject]] = deque()
    with ThreadPoolExecutor(available(), "decode") as pool:
        for ref, data in read:
            window.append(pool.submit(_prepare, ref, data, preprocess))
            if len(window) >= ahead:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()


def _prepare(
    ref: ImageRef, data: bytes | OSError, preprocess: Callable[[Image], Tensor]
) -> Prepared | Reject:
    if isinstance(data, OSError):
        return Reject(ref, f"unreadable: {data.strerror or data}")
    try:
        decoded = decode(data)
    except Rejected as error:
        return Reject(ref, str(error))
    return Prepared(
        ref=ref,
        sha256=hashlib.sha256(data).hexdigest(),
        width=decoded.width,
        height=decoded.height,
        thumbnail=thumbnail(decoded.image),
        tensor=preprocess(decoded.image),
    )
