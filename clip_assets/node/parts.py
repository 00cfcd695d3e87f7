"""One part of a shard: embedded once, written atomically, and found again after a restart.

A part's rejects are stored in its footer, so that rows and rejects become visible together even
if two jobs write the same part (a preempted job may keep running). The first writer wins.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clip_assets.errors import ModelError
from clip_assets.model import ModelIdentity, require_same
from clip_assets.node.encoder import Encoder
from clip_assets.node.prepare import Prepared, Reject, prepare
from clip_assets.source import ImageRef, Source
from clip_assets.store import parquet
from clip_assets.store.commit import Part, part_of
from clip_assets.store.objects import Objects

_KEY = b"clip_assets.identity"
_IDENTITY = b"clip_assets.model"


@dataclass(frozen=True)
class FinishedPart:
    """A part under its final name; `total` is the float64[dim] sum of its vectors."""

    file: Part
    rejects: list[dict[str, str]]
    total: NDArray[np.float64]


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

    `erased` holds hashes of files that must not come back under any name.
    """

    source: Source
    encoder: Encoder
    batch_size: int
    on_image: Callable[[], None]
    erased: frozenset[str] = frozenset()


def embed(objects: Objects, path: str, refs: Sequence[ImageRef], making: Making) -> FinishedPart:
    """Embed `refs` and create the part, or return the one another writer created first."""
    encoder = making.encoder
    read = zip(refs, making.source.read(refs), strict=True)
    prepared = prepare(read, encoder.preprocess, ahead=4 * making.batch_size)
    rejects: list[Reject] = []
    rows: list[dict[str, object]] = []
    vectors = [np.empty((0, encoder.dim), np.float32)]
    for batch in _batches(prepared, rejects, making):
        vectors.append(encoder.encode_tensors([image.tensor for image in batch]))
        rows.extend(_row(image) for image in batch)
    table = _table(rows, np.concatenate(vectors), rejects, encoder)
    data = parquet.to_bytes(table)
    if not objects.create(path, data):
        found = find(objects, path, encoder)
        assert found, "create-only failed, so the part exists"
        return found
    return _finished(path, data, table)


def _batches(
    prepared: Iterable[Prepared | Reject], rejects: list[Reject], making: Making
) -> Iterator[list[Prepared]]:
    """Full batches of accepted images; the same input always gives the same batches."""
    batch: list[Prepared] = []
    for item in prepared:
        making.on_image()
        if isinstance(item, Reject):
            rejects.append(item)
            continue
        if item.sha256 in making.erased:
            rejects.append(Reject(item.ref, "erased: this file came back under another name"))
            continue
        batch.append(item)
        if len(batch) == making.batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _row(image: Prepared) -> dict[str, object]:
    return {
        "image_id": image.ref.image_id,
        "uri": image.ref.uri,
        "caption": image.ref.caption,
        "sha256": image.sha256,
        "width": image.width,
        "height": image.height,
        "thumbnail": image.thumbnail,
    }


def _table(
    rows: list[dict[str, object]],
    vectors: NDArray[np.float32],
    rejects: list[Reject],
    encoder: Encoder,
) -> pa.Table:
    reasons = [
        {"image_id": reject.ref.image_id, "uri": reject.ref.uri, "reason": reject.reason}
        for reject in rejects
    ]
    footer = {
        _KEY: encoder.identity.key,
        _IDENTITY: encoder.identity.model_dump_json(),
        parquet.REJECTS_FOOTER: json.dumps(reasons),
    }
    schema = parquet.embeddings(encoder.dim)
    columns = [
        pa.array([row[field.name] for row in rows], field.type)
        for field in schema
        if field.name != "embedding"
    ]
    embedding = parquet.vector_column(vectors)
    return pa.table([*columns, embedding], schema=schema.with_metadata(footer))


def _finished(path: str, data: bytes, table: pa.Table) -> FinishedPart:
    return FinishedPart(
        file=part_of(path, data, len(table)),
        rejects=json.loads(table.schema.metadata[parquet.REJECTS_FOOTER]),
        total=parquet.vectors(table).sum(axis=0, dtype=np.float64),
    )
