"""Turns the bytes of an image into the pixels that the model sees, or into a reject."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clip_assets.node.decode import Limits, Pixels, Rejected, decode
from clip_assets.node.exif import exif
from clip_assets.node.resize import thumbnail
from clip_assets.node.transform import Transform
from clip_assets.source import DamagedError, ImageRef
from clip_assets.store.parquet import RejectKind


@dataclass(frozen=True)
class Prepared:
    """One decoded image: `pixels` is what the model sees, `sha256` is of the file's bytes."""

    ref: ImageRef
    sha256: str
    width: int
    height: int
    thumbnail: bytes
    pixels: Pixels
    exif: Mapping[str, Any] = field(default_factory=dict)


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
    exif: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How images become pixels; files whose sha256 is `known` are not decoded. `tags` are the EXIF
    tags to read."""

    transform: Transform
    limits: Limits
    known: Callable[[str], bool]
    thumbnails: bool = True
    tags: frozenset[str] = frozenset()


def prepare(ref: ImageRef, data: bytes | OSError, recipe: Recipe) -> Prepared | Reject | Known:
    """The outcome of one image, from its bytes or the error of reading it."""
    if isinstance(data, DamagedError):
        return Reject(ref, str(data), RejectKind.DAMAGED)
    if isinstance(data, OSError):
        return Reject(ref, f"unreadable: {data.strerror or data}", RejectKind.UNREADABLE)
    sha256 = hashlib.sha256(data).hexdigest()
    if recipe.known(sha256):
        return Known(ref, sha256, exif(data, recipe.tags))
    try:
        decoded = decode(data, recipe.limits, recipe.transform.enough)
    except Rejected as error:
        return Reject(ref, str(error), RejectKind.DAMAGED)
    return Prepared(
        ref=ref,
        sha256=sha256,
        width=decoded.width,
        height=decoded.height,
        thumbnail=thumbnail(decoded.pixels) if recipe.thumbnails else b"",
        pixels=recipe.transform(decoded.pixels),
        exif=exif(data, recipe.tags),
    )
