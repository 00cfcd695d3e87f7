"""One part of a shard: embedded once, written atomically, and found again after a restart.

A part's rejects are stored in its footer, so that rows and rejects become visible together even
if two jobs write the same part (a preempted job may keep running). The first writer wins.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clip_assets.column import Column
from clip_assets.errors import ModelError
from clip_assets.model import ModelIdentity, require_same
from clip_assets.node.columns import exif_tags, known
from clip_assets.node.decode import Limits
from clip_assets.node.earlier import Earlier
from clip_assets.node.encoder import Encoder
from clip_assets.node.pipeline import Item, Pipeline
from clip_assets.node.prepare import Known, Prepared, Recipe, Reject
from clip_assets.source import ImageRef, Source
from clip_assets.store import parquet
from clip_assets.store.commit import Part, part_of
from clip_assets.store.objects import Objects
from clip_assets.store.parquet import RejectKind

_KEY = b"clip_assets.identity"
_IDENTITY = b"clip_assets.model"


@dataclass(frozen=True)
class FinishedPart:
    """The rows and rejects of a part; `total` is the float64[dim] sum of its vectors.

    `unwritten` are its bytes if some images could not be read: such a part is stored only when its
    shard is committed, so that a job that is started again reads them again.
    """

    file: Part
    rejects: list[dict[str, str]]
    total: NDArray[np.float64]
    encoded: int = 0
    carried: int = 0
    unwritten: bytes | None = None


def find(objects: Objects, path: str, encoder: Encoder) -> FinishedPart | None:
    """The part, if an earlier attempt finished it.

    Raises ModelError if another model made it, StoreError if it is damaged.
    """
    try:
        data = objects.get(path)
    except FileNotFoundError:
        return None
    table = parquet.from_bytes(data, objects.uri(path))
    _require_same_model(table.schema.metadata, encoder.identity, objects.uri(path))
    return _finished(path, data, table)


def _require_same_model(footer: dict[bytes, bytes], loaded: ModelIdentity, where: str) -> None:
    """Parts of older versions have the key of their model only, and cannot say what differs."""
    if footer[_KEY].decode() == loaded.key:
        return
    claim = f"The loaded model differs from that of {where}"
    otherwise = ", or remove that folder to start it again"
    if _IDENTITY in footer:
        made_by = ModelIdentity.model_validate_json(footer[_IDENTITY])
        require_same(loaded, made_by, claim, otherwise)
    raise ModelError(f"{claim}. Restore the model that made it{otherwise}.")


@dataclass(frozen=True)
class Making:
    """What parts are made with; `on_image` is called after each image.

    `erased` holds hashes of files that must not come back under any name; `earlier` has rows that
    need not be computed again. `columns` are the declared columns.
    """

    source: Source
    encoder: Encoder
    pipeline: Pipeline
    on_image: Callable[[], None]
    limits: Limits
    erased: frozenset[str] = frozenset()
    earlier: Earlier | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)
    thumbnails: bool = True


@dataclass
class _Made:
    """What became of each image of a part: a new row, an earlier row or a reject. `exif` has the
    tags of those that were read, by id."""

    rows: list[dict[str, object]] = field(default_factory=list)
    vectors: list[Future[NDArray[np.float32]]] = field(default_factory=list)
    carried: list[tuple[ImageRef, int]] = field(default_factory=list)
    exif: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)


@dataclass(frozen=True)
class BegunPart:
    """A part whose images are being read and decoded."""

    path: str
    refs: Sequence[ImageRef]
    making: Making
    images: Iterator[Item]
    made: _Made


def begin(path: str, refs: Sequence[ImageRef], making: Making) -> BegunPart:
    """Begin to read `refs`, after those of the parts that were begun before."""
    made, earlier = _Made(), making.earlier
    due = [ref for ref in refs if not _decided(ref, made, making)]
    recipe = Recipe(
        making.encoder.transform,
        making.limits,
        lambda sha256: earlier is not None and earlier.row_of_content(sha256) is not None,
        making.thumbnails,
        exif_tags(making.columns),
    )
    images = making.pipeline.prepared(due, making.source, recipe)
    return BegunPart(path, refs, making, images, made)


def encode(part: BegunPart) -> None:
    """Give all images of the part to the devices, in batches."""
    for batch in _batches(part):
        pixels = [image.pixels for image in batch]
        part.made.vectors.append(part.making.pipeline.encode(pixels))
        part.made.rows.extend(_row(image, part.making.columns) for image in batch)
        part.made.exif.update((image.ref.image_id, image.exif) for image in batch)


def finish(objects: Objects, part: BegunPart) -> FinishedPart:
    """Await the vectors and create the part, or return the one another writer created first."""
    made, making = part.made, part.making
    vectors = [batch.result() for batch in made.vectors]
    with making.pipeline.stages.busy("write"):
        table = _table(part, vectors)
        data = parquet.to_bytes(table)
        again = any(reject.kind == RejectKind.UNREADABLE for reject in made.rejects)
        finished = replace(
            _finished(part.path, data, table),
            encoded=len(made.rows),
            carried=len(made.carried),
            unwritten=data if again else None,
        )
        return finished if again else stored(objects, finished, data, making.encoder)


def stored(objects: Objects, part: FinishedPart, data: bytes, encoder: Encoder) -> FinishedPart:
    """Create the part's file, or return the part that another writer created first."""
    if objects.create(part.file.path, data):
        return replace(part, unwritten=None)
    found = find(objects, part.file.path, encoder)
    assert found, "create-only failed, so the part exists"
    return found


def _decided(ref: ImageRef, made: _Made, making: Making) -> bool:
    """Whether the image need not be read."""
    row = making.earlier.row_of(ref) if making.earlier else None
    if ref.fault is not None:
        made.rejects.append(Reject(ref, ref.fault, RejectKind.UNLISTED))
    elif row is not None and making.earlier:
        _carry(ref, row, making.earlier.sha256(row), made, making)
    else:
        return False
    making.on_image()
    return True


def _carry(ref: ImageRef, row: int, sha256: str, made: _Made, making: Making) -> None:
    if sha256 in making.erased:
        made.rejects.append(_erased(ref))
    else:
        made.carried.append((ref, row))


def _erased(ref: ImageRef) -> Reject:
    reason = "erased: this file came back under another name"
    return Reject(ref, reason, RejectKind.ERASED)


def _batches(part: BegunPart) -> Iterator[list[Prepared]]:
    """Full batches of accepted images; the same input always gives the same batches."""
    made, making = part.made, part.making
    earlier = making.earlier
    batch: list[Prepared] = []
    for item in part.images:
        making.on_image()
        if isinstance(item, Reject):
            made.rejects.append(item)
            continue
        if isinstance(item, Known):
            row = earlier.row_of_content(item.sha256) if earlier else None
            assert row is not None, "known by its row"
            made.exif[item.ref.image_id] = item.exif
            _carry(item.ref, row, item.sha256, made, making)
            continue
        if item.sha256 in making.erased:
            made.rejects.append(_erased(item.ref))
            continue
        batch.append(item)
        if len(batch) == making.pipeline.batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _row(image: Prepared, columns: Mapping[str, Column]) -> dict[str, object]:
    return {
        "image_id": image.ref.image_id,
        "uri": image.ref.uri,
        "caption": image.ref.caption,
        "sha256": image.sha256,
        "width": image.width,
        "height": image.height,
        "thumbnail": image.thumbnail,
        **known(columns, image.ref, image.exif),
    }


def _table(part: BegunPart, batches: list[NDArray[np.float32]]) -> pa.Table:
    """Rows and rejects in the order of the part's images."""
    refs, made, making = part.refs, part.made, part.making
    encoder = making.encoder
    position = {ref.image_id: number for number, ref in enumerate(refs)}
    reasons = [
        {
            "image_id": reject.ref.image_id,
            "uri": reject.ref.uri,
            "reason": reject.reason,
            "kind": reject.kind.value,
        }
        for reject in sorted(made.rejects, key=lambda reject: position[reject.ref.image_id])
    ]
    footer = {
        _KEY: encoder.identity.key,
        _IDENTITY: encoder.identity.model_dump_json(),
        parquet.REJECTS_FOOTER: json.dumps(reasons),
    }
    schema = parquet.embeddings(encoder.dim, making.columns)
    vectors = np.concatenate([np.empty((0, encoder.dim), np.float32), *batches])
    columns = [
        parquet.vector_column(vectors)
        if field.name == "embedding"
        else pa.array([row[field.name] for row in made.rows], field.type)
        for field in schema
    ]
    table = pa.table(columns, schema=schema)
    if made.carried and making.earlier:
        old, rows = zip(*made.carried, strict=True)
        both = pa.concat_tables([table, making.earlier.take(rows, old, schema, made.exif)])
        order = np.argsort([position[name] for name in both.column("image_id").to_pylist()])
        table = both.take(pa.array(order)).combine_chunks()
    return table.replace_schema_metadata(footer)


def _finished(path: str, data: bytes, table: pa.Table) -> FinishedPart:
    return FinishedPart(
        file=part_of(path, data, len(table)),
        rejects=json.loads(table.schema.metadata[parquet.REJECTS_FOOTER]),
        total=parquet.vectors(table).sum(axis=0, dtype=np.float64),
    )
