"""PostgreSQL's binary COPY format, framed by Arrow and numpy with no Python object per row.

Format: https://www.postgresql.org/docs/current/sql-copy.html (Binary Format): the number of
fields, then each field, preceded by its length.

Fixed-width fields are columns of a numpy record. Arrow joins them with the texts row by row, and
the resulting data buffer is sent to Postgres unchanged. Both release the GIL, so one thread frames
while another sends.
"""

import hashlib
import struct
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clip_assets.column import NO_COLUMNS, Columns, ColumnType
from clip_assets.index.vector_type import VectorType
from clip_assets.store import parquet

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)

IMAGE_COLUMNS = ["image_id", "uri", "caption", "sha256", "width", "height", "embedding"]
THUMBNAIL_COLUMNS = ["sha256", "thumbnail"]

_DAYS_TO_2000 = 10_957

_WIRE: dict[ColumnType, tuple[str, pa.Scalar | None]] = {
    ColumnType.BIGINT: (">i8", None),
    ColumnType.DOUBLE: (">f8", None),
    ColumnType.BOOLEAN: ("u1", None),
    ColumnType.TIMESTAMP: (">i8", pa.scalar(_DAYS_TO_2000 * 86_400_000_000, pa.int64())),
    ColumnType.DATE: (">i4", pa.scalar(_DAYS_TO_2000, pa.int32())),
}
"""The numpy type on the wire, and what to subtract from Arrow's number, which counts from 1970."""


@dataclass(frozen=True)
class ImageRows:
    """Rows for `copy_rows`.

    `checksum` is an int64 over image ids and vectors as the index stores them, independent of row
    order: the XOR of the first 8 bytes of each row's sha256(vector on the wire, then image id).
    `damaged_shards` computes the same over the table. A shard's checksum is the XOR of its pieces'.
    """

    data: memoryview
    checksum: int


def image_rows(
    shard: str,
    first_row: int,
    batch: pa.RecordBatch,
    vector_type: VectorType,
    columns: Columns = NO_COLUMNS,
) -> ImageRows:
    """The batch as rows of the shard, numbered from `first_row`, with these declared columns.

    A declared column is null where the batch lacks it, or has it as another type.
    """
    image_id, uri, caption, sha256 = (_cleaned(batch.column(name)) for name in IMAGE_COLUMNS[:4])
    vector = _vectors(batch.column("embedding"), vector_type)
    row = _join(
        _beginnings(shard, first_row, len(batch), 9 + len(columns)),
        *_framed(image_id, uri, caption, sha256),
        _sizes(batch),
        *_framed(vector, *(_declared(batch, *column) for column in columns.items())),
    )
    return ImageRows(_data(row), _checksum(_join(vector, image_id)))


def thumbnail_rows(batch: pa.RecordBatch) -> memoryview:
    """The batch for `copy_thumbnails`."""
    two_fields = _fixed(np.full(len(batch), 2, ">i2"))
    fields = _framed(_cleaned(batch.column("sha256")), batch.column("thumbnail"))
    return _data(_join(two_fields, *fields))


def _beginnings(shard: str, first_row: int, rows: int, fields: int) -> pa.BinaryArray:
    """The start of each row: its number of fields, its shard and its row number."""
    key = np.bytes_(shard.encode())
    kinds = [("fields", ">i2"), ("l1", ">i4"), ("shard", key.dtype), ("l2", ">i4"), ("row", ">i4")]
    records = np.empty(rows, kinds)
    records["fields"], records["shard"] = fields, key
    records["l1"], records["l2"] = len(key), 4
    records["row"] = np.arange(first_row, first_row + rows)
    return _fixed(records)


def _declared(batch: pa.RecordBatch, name: str, kind: ColumnType) -> pa.BinaryArray:
    """The column in the wire format of its Postgres type; null if a value is unknown."""
    at = batch.schema.get_field_index(name)
    if at < 0 or batch.schema.field(at).type != parquet.ARROW_TYPES[kind]:
        return pa.nulls(len(batch), pa.binary())
    column = batch.column(at)
    if kind is ColumnType.TEXT:
        return _cleaned(column)
    wire, since = _WIRE[kind]
    numbers = column.cast(since.type) if since else column
    numbers = numbers.fill_null(pa.scalar(0).cast(numbers.type))
    if since:  # Postgres counts days and microseconds from 2000
        numbers = pc.subtract(numbers, since)
    records = numbers.to_numpy(zero_copy_only=False).astype(wire)
    return pc.if_else(column.is_valid(), _fixed(records), pa.scalar(None, pa.binary()))


def _sizes(batch: pa.RecordBatch) -> pa.BinaryArray:
    records = np.empty(
        len(batch), [("l1", ">i4"), ("width", ">i4"), ("l2", ">i4"), ("height", ">i4")]
    )
    records["l1"] = records["l2"] = 4
    records["width"], records["height"] = batch.column("width"), batch.column("height")
    return _fixed(records)


def _vectors(vectors: pa.FixedSizeListArray, vector_type: VectorType) -> pa.BinaryArray:
    # Arrow's cast is faster than numpy's, and pgvector itself rejects values that are not finite
    rounded = vectors.flatten().cast(vector_type.arrow, safe=False)
    return _fixed(vector_type.on_wire(rounded.to_numpy().reshape(-1, vectors.type.list_size)))


def _cleaned(texts: pa.StringArray) -> pa.BinaryArray:
    """UTF-8 without NUL, which Postgres does not allow in text."""
    data = texts.buffers()[2]
    if data and not np.frombuffer(data, np.uint8).all():
        texts = pc.replace_substring(texts, "\0", "")
    return texts.cast(pa.binary())


def _framed(*columns: pa.BinaryArray) -> list[pa.BinaryArray]:
    """Each column, preceded by a column of its lengths; the length of NULL is -1."""
    framed: list[pa.BinaryArray] = []
    for column in columns:
        lengths = pc.fill_null(pc.binary_length(column), -1)
        framed += [_fixed(lengths.to_numpy().astype(">i4")), column]
    return framed


def _fixed(records: NDArray[np.generic]) -> pa.BinaryArray:
    """The bytes of each record."""
    width = pa.binary(records.itemsize)
    return pa.FixedSizeBinaryArray.from_buffers(
        width, len(records), [None, pa.py_buffer(records)]
    ).cast(pa.binary())


def _join(*columns: pa.BinaryArray) -> pa.BinaryArray:
    """The columns' values concatenated row by row; NULL adds nothing."""
    return pc.binary_join_element_wise(*columns, b"", null_handling="replace", null_replacement=b"")


def _data(joined: pa.BinaryArray) -> memoryview:
    return memoryview(joined.buffers()[2] or b"")


def _checksum(values: pa.BinaryArray) -> int:
    data = _data(values)
    ends = np.frombuffer(values.buffers()[1], np.int32).tolist()[: len(values) + 1]
    digests = b"".join([hashlib.sha256(data[a:b]).digest() for a, b in pairwise(ends)])
    return int(np.bitwise_xor.reduce(np.frombuffer(digests, ">i8")[::4], initial=0))
