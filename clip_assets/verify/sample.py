"""Reads a sample of images again from the source, embeds them, and compares the vectors."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from clip_assets import catalog
from clip_assets.catalog import Catalog
from clip_assets.errors import ClipAssetsError
from clip_assets.node.decode import PIPELINE
from clip_assets.node.encoder import Encoder
from clip_assets.node.prepare import Prepared, Recipe, prepare
from clip_assets.node.reload import encoder_of, require_same_images
from clip_assets.source import ImageRef
from clip_assets.source.open import open_source
from clip_assets.store import commit as commits
from clip_assets.store import parquet
from clip_assets.store.commit import Commit, Part
from clip_assets.store.objects import Objects
from clip_assets.verify.finding import Fault, Finding, Remedy
from clip_assets.verify.verify import Sample

SAME_DEVICE, OTHER_DEVICE = 0.9999, 0.999
"""The least cosine of a vector with the same vector computed again: on the same kind of device, or
on another."""


@dataclass(frozen=True)
class _Sampled:
    """An image of a commit, with its stored vector."""

    ref: ImageRef
    sha256: str
    vector: NDArray[np.float32]


def verify_sample(
    objects: Objects,
    head: Catalog,
    sound: list[Commit],
    sample: Sample,
    on_image: Callable[[], None],
) -> Finding:
    """Embed some images of these commits, all of one model, again.

    Images that have changed in the source, or cannot be read now, are not compared.
    """
    sampled = [one for commit, rows in _chosen(sound, sample)
               for one in _rows(objects, commit, rows)]  # fmt: skip
    if not sampled:
        return Finding()
    try:
        encoder = encoder_of(objects, sound[0])
        require_same_images(encoder, sound[0])
    except ClipAssetsError as error:
        return Finding(faults=(Fault("sample", str(error), Remedy.MODEL),))
    same = encoder.device_name == sound[0].device
    wanted = SAME_DEVICE if same else OTHER_DEVICE
    cosines = dict(_cosines(head, encoder, sampled, on_image))
    faults = [
        Fault(
            one.ref.uri,
            f"The stored vector has cosine {cosines[one.ref.image_id]:.6f} with the new one, "
            f"less than {wanted}.",
            Remedy.MODEL,
        )
        for one in sampled
        if cosines.get(one.ref.image_id, 1) < wanted
    ]
    lacking = len(sampled) - len(cosines)
    if not cosines:
        what = f"None of {lacking} sampled images is unchanged and can be read."
        return Finding(faults=(Fault("sample", what, Remedy.SOURCE),))
    figures: dict[str, float] = {
        "sampled images": len(cosines),
        "lowest cosine": round(min(cosines.values()), 6),
    }
    message = f"{lacking} of {len(sampled)} sampled images have changed or cannot be read now."
    return Finding(figures, tuple(faults), (message,) if lacking else ())


def _chosen(sound: list[Commit], sample: Sample) -> Iterator[tuple[Commit, list[int]]]:
    """Row numbers for each commit: `count` in all, or as many as there are."""
    rows = sum(commit.rows for commit in sound)
    chosen = sorted(Random(sample.seed).sample(range(rows), min(sample.count, rows)))  # noqa: S311
    first = 0
    for commit in sound:
        own = [row - first for row in chosen if first <= row < first + commit.rows]
        if own:
            yield commit, own
        first += commit.rows


def _rows(objects: Objects, commit: Commit, rows: list[int]) -> Iterator[_Sampled]:
    refs = {
        ref.image_id: ref
        for ref in catalog.live_refs(catalog.read_shard(objects, commit.at._replace(attempt=0)))
    }
    for part, own in _by_part(commit, rows):
        table = commits.read_part(objects, part, ["image_id", "sha256", "embedding"]).take(own)
        vectors = parquet.vectors(table)
        for row, vector in zip(table.select(["image_id", "sha256"]).to_pylist(), vectors,
                               strict=True):  # fmt: skip
            yield _Sampled(refs[row["image_id"]], row["sha256"], vector)


def _by_part(commit: Commit, rows: list[int]) -> Iterator[tuple[Part, list[int]]]:
    first = 0
    for part in commit.parts:
        own = [row - first for row in rows if first <= row < first + part.rows]
        if own:
            yield part, own
        first += part.rows


def _cosines(
    head: Catalog, encoder: Encoder, sampled: list[_Sampled], on_image: Callable[[], None]
) -> Iterator[tuple[str, float]]:
    """Cosine of the stored vector with the new one, by image id, where the bytes are the same."""
    refs = [one.ref for one in sampled]
    recipe = Recipe(encoder.transform, PIPELINE, lambda _: False, thumbnails=False)
    for one, data in zip(sampled, open_source(head.source).read(refs), strict=True):
        made = prepare(one.ref, data, recipe)
        on_image()
        if isinstance(made, Prepared) and made.sha256 == one.sha256:
            yield one.ref.image_id, float(encoder.encode_pixels([made.pixels])[0] @ one.vector)
