"""Duplicates among the committed embeddings: exact ones by hash, near ones by vector."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clip_assets.errors import StoreError
from clip_assets.quality import duplicates
from clip_assets.store import commit as commits
from clip_assets.store import parquet
from clip_assets.store.commit import Part
from clip_assets.store.objects import Objects

MOST_COMPARED = 50_000
"""The most images to compare with each other; more would take minutes to hours. From a larger
collection, this many are taken, evenly spread, and the report says so."""

MOST_PAIRS = 1_000
_COLUMNS = ["image_id", "sha256", "embedding"]


@dataclass(frozen=True)
class NearPair:
    """Two images with different bytes whose vectors are almost the same."""

    first: str
    second: str
    cosine: float


@dataclass(frozen=True)
class Duplicates:
    """`exact` are groups of image ids with the same bytes; `near` the closest pairs first.

    `compared` of `images` were searched for near duplicates.
    """

    images: int
    compared: int
    threshold: float
    exact: tuple[tuple[str, ...], ...]
    near: tuple[NearPair, ...]


def find(objects: Objects, slug: str, threshold: float = duplicates.NEAR) -> Duplicates:
    """Duplicates of one model's embeddings. Raises StoreError if nothing is committed.

    Memory holds the names and hashes of all images, and the vectors of those that are compared.
    """
    parts = _parts(objects, slug)
    rows = duplicates.spread(sum(part.rows for part in parts), MOST_COMPARED)
    ids: list[str] = []
    hashes: list[str] = []
    kept: list[NDArray[np.float32]] = []
    for part in parts:
        table = commits.read_part(objects, part, _COLUMNS)
        mine = rows[(rows >= len(ids)) & (rows < len(ids) + len(table))] - len(ids)
        kept.append(parquet.vectors(table)[mine])
        ids += table.column("image_id").to_pylist()
        hashes += table.column("sha256").to_pylist()
    groups = duplicates.exact(hashes)
    once = np.isin(rows, [row for group in groups for row in group[1:]], invert=True)
    rows = rows[once]
    pairs = duplicates.near(np.concatenate(kept)[once], threshold, MOST_PAIRS)
    return Duplicates(
        images=len(ids),
        compared=len(rows),
        threshold=threshold,
        exact=tuple(tuple(ids[row] for row in group) for group in groups),
        near=tuple(NearPair(ids[rows[a]], ids[rows[b]], cosine) for a, b, cosine in pairs),
    )


def thumbnails(objects: Objects, slug: str, image_ids: Iterable[str]) -> dict[str, bytes]:
    """The thumbnails of these images, by image id."""
    wanted = pa.array(sorted(set(image_ids)), pa.string())
    found: dict[str, bytes] = {}
    for part in _parts(objects, slug):
        if len(found) == len(wanted):
            break
        table = commits.read_part(objects, part, ["image_id", "thumbnail"])
        kept = table.filter(pc.is_in(table.column("image_id"), wanted))
        found |= dict(zip(*kept.to_pydict().values(), strict=True))
    return found


def _parts(objects: Objects, slug: str) -> list[Part]:
    paths = commits.newest(objects, slug).values()
    parts = [part for path in paths for part in commits.read_path(objects, path).parts]
    if not parts:
        raise StoreError(f"{objects.root} has no embeddings by {slug}.")
    return parts
