"""Reads the image column of one parquet file in small batches."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clip_assets.source import DamagedError
from clip_assets.source.ranged import Ranged

BATCH = 64  # rows of images in memory at once, about 10 MB of photos


class ColumnError(ValueError):
    """A parquet file lacks a column, or its image column holds no images."""


class ImageColumn:
    """The bytes of an image column, by row.

    Moving forward continues reading; moving back, or to another row group, restarts that group.
    At most one batch is in memory, because a row group may be larger than memory.
    """

    def __init__(self, file: Path | Ranged, column: str) -> None:
        # A file may be one row group of 100,000 images; buffered reads fetch it page by page.
        self._file = pq.ParquetFile(
            file, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True
        )
        groups = range(self._file.num_row_groups)
        counts = (self._file.metadata.row_group(group).num_rows for group in groups)
        self._starts = list(accumulate(counts, initial=0))
        self._column = column
        leaf(self._file.schema_arrow, column)
        self._leaf = stored(self._file, column, "bytes")
        self._group, self._first = -1, 0
        self._batch: Any = ()
        self._batches: Iterator[Any] = iter(())
        self._damaged: dict[int, DamagedError] = {}

    def close(self) -> None:
        self._file.close()

    def image(self, row: int, place: int | None = None) -> bytes | None:
        """Bytes of one image, or of the image at `place` in a list; None if there are none.

        Raises OSError if they cannot be read.
        """
        if row >= self._starts[-1]:
            raise DamagedError("no such row")
        group = bisect_right(self._starts, row) - 1
        if group in self._damaged:
            raise self._damaged[group]
        try:
            value = self._in_group(group, row)
        except (OSError, pa.ArrowException) as error:
            self._group = -1
            self._damaged[group] = DamagedError(f"damaged row group {group} of the parquet file")
            raise self._damaged[group] from error
        return image_in(value, place)

    def _in_group(self, group: int, row: int) -> Any:
        if group != self._group or row < self._first:
            self._begin(group)
        while row >= self._first + len(self._batch):
            self._first += len(self._batch)
            self._batch = next(self._batches).column(0)
        return self._batch[row - self._first]

    def _begin(self, group: int) -> None:
        self._group, self._first, self._batch = group, self._starts[group], ()
        self._batches = self._file.iter_batches(
            BATCH, row_groups=[group], columns=[self._leaf], use_threads=False
        )


def image_in(value: Any, place: int | None) -> bytes | None:
    """The bytes in a value of an image column; in a list, those of the item at `place`."""
    if place is not None:
        items = value.values
        if items is None or place >= len(items):
            raise DamagedError("no such image in the row")
        value = items[place]
    found = value.as_py()
    data: bytes | None = found["bytes"] if isinstance(found, dict) else found
    return data


def leaf(schema: pa.Schema, column: str) -> pa.DataType:
    """The type of the images of `column`, which may hold lists of them.

    Raises ColumnError, naming what exists, if the column holds no images.
    """
    if column not in schema.names:
        raise ColumnError(f"no column {column!r}; it has {', '.join(schema.names)}")
    kind = schema.field(column).type
    one = kind.value_type if is_list(kind) or pa.types.is_dictionary(kind) else kind
    if pa.types.is_struct(one) and one.get_field_index("bytes") >= 0:
        return one
    if pa.types.is_binary(one) or pa.types.is_large_binary(one) or pa.types.is_binary_view(one):
        return one
    raise ColumnError(f"column {column!r} holds {kind}, not image bytes")


def as_python(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """The rows as Python objects.

    A value that Python cannot hold, such as a date after the year 9999, is its text; bytes that are
    not UTF-8 are replaced in a text. Either would otherwise cost all rows.
    """
    columns = [_values(column) for column in batch.columns]
    names = batch.schema.names
    return (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))


_UNUSABLE = (ValueError, OverflowError, LookupError, pa.ArrowException)


def _values(column: pa.Array) -> list[Any]:
    try:
        found: list[Any] = column.to_pylist()
    except _UNUSABLE:
        kind = column.type
        if pa.types.is_timestamp(kind) and kind.tz:  # perhaps one that this machine does not know
            column = column.cast(pa.timestamp(kind.unit, "UTC"))
        found = [_value(column[number]) for number in range(len(column))]
    return found


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        whole = isinstance(scalar, pa.StringScalar | pa.LargeStringScalar | pa.StringViewScalar)
        return scalar.as_buffer().to_pybytes().decode("utf-8", "replace") if whole else None
    except _UNUSABLE:
        try:
            return scalar.cast(pa.string()).as_py()
        except _UNUSABLE:
            return None


def is_list(kind: pa.DataType) -> bool:
    """Whether each row of the column has several values."""
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(of(kind) for of in kinds)


def stored(file: pq.ParquetFile, column: str, field: str) -> str:
    """The name of the parquet column that stores `field` of the images, or else the images.

    Writers use different names for the items of a list.
    """
    schema = file.schema
    paths: list[str] = [schema.column(number).path for number in range(len(schema))]
    found = [path for path in paths if path == column or path.startswith(f"{column}.")]
    return next((path for path in found if path.rpartition(".")[2] == field), found[0])
