"""Compares a shard's committed files with their commit and with the catalog."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from clip_assets import catalog
from clip_assets.errors import StoreError
from clip_assets.model import ModelIdentity
from clip_assets.quality.vectors import inspect
from clip_assets.store import commit as commits
from clip_assets.store import parquet
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects
from clip_assets.verify.finding import Fault, Finding, Remedy, what_of


def identity_of(objects: Objects, newest: dict[str, str]) -> ModelIdentity | None:
    """The model of most commits; None if no commit can be read."""
    found: Counter[ModelIdentity] = Counter()
    for path in newest.values():
        try:
            found[commits.read_path(objects, path).identity] += 1
        except StoreError:
            continue
    return found.most_common(1)[0][0] if found else None


def verify_shard(
    objects: Objects, slug: str, shard: str, path: str, model: ModelIdentity | None = None
) -> Finding:
    """Verify the commit at `path` and all its files: they have the committed bytes, and every image
    of the catalog's version once, as a row with a unit vector or as a reject.

    `model` is the identity of the other shards' model, if it is to be compared.
    """
    where = f"{slug}, shard {shard}"

    def fault(what: str) -> Fault:
        return Fault(where, what, Remedy.EMBED_AGAIN, shard)

    try:
        commit = commits.read_path(objects, path)
    except StoreError as error:
        return Finding(faults=(fault(what_of(error)),))
    if model and commit.identity.key != model.key:
        what = f"Its model is {commit.identity.short}; that of the other shards is {model.short}."
        return Finding(faults=(fault(what),))
    found: list[str] = []
    vectors: list[NDArray[np.float32]] = []
    faults: list[Fault] = []
    size = 0
    for part, columns in _files(commit):
        try:
            rows = commits.read_part(objects, part, columns)
        except StoreError as error:
            faults.append(fault(what_of(error)))
            continue
        size += part.bytes
        if len(rows) != part.rows:
            faults.append(fault(f"{part.path} has {len(rows)} rows, not {part.rows}."))
        if part == commit.queries:
            made = inspect(parquet.vectors(rows))  # captions may well be all the same
            if wrong := made.not_finite + made.not_unit:
                faults.append(
                    fault(f"{part.path} has {wrong} vectors that are not of unit length.")
                )
            continue
        found += rows.column("image_id").to_pylist()
        if part != commit.rejects:
            vectors.append(parquet.vectors(rows))
    if vectors and (bad := inspect(np.concatenate(vectors)).text):
        faults.append(fault(f"{bad[0].upper()}{bad[1:]}."))
    if not faults:
        faults = [fault(what) for what in _miscounted(objects, commit, found)]
    figures = {"shards": 1, "embedded": commit.rows, "rejected": commit.rejected, "bytes": size}
    return Finding(figures, tuple(faults))


def _files(commit: Commit) -> Iterator[tuple[commits.Part, list[str]]]:
    """Each file with the columns to check; its whole content is hashed."""
    for part in commit.parts:
        yield part, ["image_id", "embedding"]
    yield commit.rejects, ["image_id"]
    yield commit.queries, ["embedding"]


def _miscounted(objects: Objects, commit: Commit, found: list[str]) -> Iterator[str]:
    """The differences between the images in the files and those in the catalog's version."""
    if len(found) != commit.rows + commit.rejected:
        yield f"Its files have {len(found)} images, not {commit.rows + commit.rejected}."
    repeated = [name for name, count in Counter(found).items() if count > 1]
    if repeated:
        yield f"Its files have {_some(repeated)} more than once."
    try:
        rows = catalog.read_shard(objects, commit.at._replace(attempt=0))
    except (FileNotFoundError, StoreError):
        return  # of an older version; `verify_catalog` reports the current one
    listed = {ref.image_id for ref in catalog.live_refs(rows)}
    if lost := sorted(listed.difference(found)):
        yield f"{_some(lost)} of the catalog are neither embedded nor rejected."
    if strange := sorted(set(found).difference(listed)):
        yield f"{_some(strange)} are not in the catalog."


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
