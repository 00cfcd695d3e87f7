"""Turns image bytes into the pixels that the model sees, on all cores, a few batches ahead."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from clip_assets.node.decode import Limits, Pixels, Rejected, decode
from clip_assets.node.resize import thumbnail
from clip_assets.node.transform import Transform
from clip_assets.processors import available
from clip_assets.source import DamagedError, ImageRef
from clip_assets.store.parquet import RejectKind


@dataclass(frozen=True)
class Prepared:
    """One decoded image: `pixels` are those the model sees, `sha256` of the file's bytes."""

    ref: ImageRef
    sha256: str
    width: int
    height: int
    thumbnail: bytes
    pixels: Pixels


@dataclass(frozen=True)
class Reject:
    """One image that cannot be embedded, and why."""

    ref: ImageRef
    reason: str
    kind: RejectKind


@dataclass(frozen=True)
class Known:
    """An image whose bytes were embedded before."""

    ref: ImageRef
    sha256: str


@dataclass(frozen=True)
class Recipe:
    """How images become pixels; files whose sha256 is `known` need none."""

    transform: Transform
    limits: Limits
    known: Callable[[str], bool]


def prepare(
    read: Iterable[tuple[ImageRef, bytes | OSError]], recipe: Recipe, ahead: int
) -> Iterator[Prepared | Reject | Known]:
    """Decode in threads and yield in order, at most `ahead` images early.

    The decoders, torch and hashlib release the GIL while they work, so threads use every core.
    """
    window: deque[Future[Prepared | Reject | Known]] = deque()
    with ThreadPoolExecutor(available(), "decode") as pool:
        for ref, data in read:
            window.append(pool.submit(_prepare, ref, data, recipe))
            if len(window) >= ahead:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()


def _prepare(ref: ImageRef, data: bytes | OSError, recipe: Recipe) -> Prepared | Reject | Known:
    if isinstance(data, DamagedError):
        return Reject(ref, str(data), RejectKind.DAMAGED)
    if isinstance(data, OSError):
        return Reject(ref, f"unreadable: {data.strerror or data}", RejectKind.UNREADABLE)
    sha256 = hashlib.sha256(data).hexdigest()
    if recipe.known(sha256):
        return Known(ref, sha256)
    try:
        decoded = decode(data, recipe.limits, recipe.transform.enough)
    except Rejected as error:
        return Reject(ref, str(error), RejectKind.DAMAGED)
    return Prepared(
        ref=ref,
        sha256=sha256,
        width=decoded.width,
        height=decoded.height,
        thumbnail=thumbnail(decoded.pixels),
        pixels=recipe.transform(decoded.pixels),
    )
