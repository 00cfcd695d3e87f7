"""The parquet schemas, and functions to write and read them with page checksums.

With pyarrow's defaults a flipped bit is read as wrong data without an error; page checksums
detect it.
"""

import io
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from clip_assets.column import Column, ColumnType
from clip_assets.errors import DamageError

_READ_BYTES = 1 << 20

FROM = b"clip_assets.from"
"""Key of a declared column's origin in its field's metadata."""

REJECTS_FOOTER = b"clip_assets.rejects"
"""Key of a part's rejects in its footer, as JSON: a list of the rows of `REJECTS`."""

CATALOG = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("row", pa.int64()),
        pa.field("caption", pa.string()),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("tombstone", pa.bool_(), nullable=False),
        pa.field("fault", pa.string()),
        pa.field("columns", pa.string()),
    ]
)
"""`columns` is a JSON object with the known values of the declared columns."""

REJECTS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("kind", pa.string()),
    ]
)
"""`kind` is None in files of older versions, else a value of `RejectKind`."""


ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    ColumnType.TEXT: pa.string(),
    ColumnType.BIGINT: pa.int64(),
    ColumnType.DOUBLE: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.TIMESTAMP: pa.timestamp("us"),
    ColumnType.DATE: pa.date32(),
}
"""How parts store the declared columns."""


class RejectKind(StrEnum):
    """Why an image has no vector. UNREADABLE images are read again at the next run."""

    DAMAGED = "damaged"
    UNREADABLE = "unreadable"
    UNLISTED = "unlisted"
    ERASED = "erased"


def queries(dim: int) -> pa.Schema:
    """Texts and their vectors, for measuring recall; `image_id` is the image of a caption."""
    return pa.schema(
        [
            pa.field("image_id", pa.string()),
            pa.field("text", pa.string(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )


def embeddings(dim: int, columns: Mapping[str, Column] | None = None) -> pa.Schema:
    """One row per embedded image; `embedding` is float32[dim] of unit length.

    The declared columns follow, each with its origin as the field's metadata.
    """
    declared = [
        pa.field(name, ARROW_TYPES[column.type], metadata={FROM: column.origin})
        for name, column in (columns or {}).items()
    ]
    return pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("uri", pa.string(), nullable=False),
            pa.field("caption", pa.string()),
            pa.field("sha256", pa.string(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("thumbnail", pa.binary(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), dim), nullable=False),
            *declared,
        ]
    )


def vectors(table: pa.Table) -> NDArray[np.float32]:
    """The column `embedding` as float32[rows, dim]; no copy if the column is in one piece."""
    column = table.column("embedding").combine_chunks()
    matrix: NDArray[np.float32] = column.flatten().to_numpy().reshape(-1, column.type.list_size)
    return matrix


def vector_column(vectors: NDArray[np.float32]) -> pa.FixedSizeListArray:
    """float32[rows, dim] as a column `embedding`."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


def to_bytes(table: pa.Table) -> bytes:
    """The table as one parquet file; the same table gives the same bytes.

    Vectors and thumbnails are not compressed: that would save about 3 % of the file and make an
    exact search in DuckDB take 1.5 times as long.
    """
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        compression={field.name: "zstd" for field in table.schema if _shrinks(field.type)},
        write_page_checksum=True,
        use_dictionary=False,
        row_group_size=10_000,
    )
    return sink.getvalue()


def _shrinks(kind: pa.DataType) -> bool:
    return not (pa.types.is_fixed_size_list(kind) or pa.types.is_binary(kind))


def from_bytes(data: bytes, where: str, columns: list[str] | None = None) -> pa.Table:
    """The table in `data`, with its checksums verified.

    Raises DamageError naming `where` if any byte of the columns read is damaged.
    """
    try:
        return pq.read_table(
            io.BytesIO(data), columns=columns, page_checksum_verification=True, use_threads=False
        )
    except (OSError, pa.ArrowException) as error:
        raise _damaged(where, error) from error


def batches(file: Path, where: str, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    """The columns of a file in batches of at most `rows` rows, with checksums verified.

    Pages are decoded one after the other, so memory holds one batch, whatever the file's size.
    Raises DamageError naming `where` if any byte of the columns read is damaged.
    """
    try:
        with pq.ParquetFile(
            file, pre_buffer=False, buffer_size=_READ_BYTES, page_checksum_verification=True
        ) as parquet:
            yield from parquet.iter_batches(rows, columns=columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(where, error) from error


def _damaged(where: str, error: Exception) -> DamageError:
    return DamageError(f"{where} is damaged ({error}).")
