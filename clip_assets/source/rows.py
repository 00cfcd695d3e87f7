"""Reads the image column of one parquet file in small batches."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clip_assets.source import DamagedError

BATCH = 64  # rows of images in memory at once, about 10 MB of photos


class ColumnError(ValueError):
    """A parquet file lacks a column, or its image column holds no images."""


class ImageColumn:
    """The bytes of an image column, by row.

    Moving forward continues reading; moving back, or to another row group, restarts that group.
    At most one batch is in memory, because a row group may be larger than memory.
    """

    def __init__(self, path: Path, column: str) -> None:
        # A file may be one row group of 100,000 images; buffered reads fetch it page by page.
        self._file = pq.ParquetFile(
            path, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True
        )
        groups = range(self._file.num_row_groups)
        counts = (self._file.metadata.row_group(group).num_rows for group in groups)
        self._starts = list(accumulate(counts, initial=0))
        self._column = column
        self._leaf = leaf(self._file.schema_arrow, column)
        self._group, self._first = -1, 0
        self._batch: Any = ()
        self._batches: Iterator[Any] = iter(())
        self._damaged: dict[int, DamagedError] = {}

    def close(self) -> None:
        self._file.close()

    def __getitem__(self, row: int) -> bytes | None:
        """Bytes of one image; None if the row has none. Raises OSError if it cannot be read."""
        if row >= self._starts[-1]:
            raise DamagedError("no such row")
        group = bisect_right(self._starts, row) - 1
        if group in self._damaged:
            raise self._damaged[group]
        try:
            return self._in_group(group, row)
        except (OSError, pa.ArrowException) as error:
            self._group = -1
            self._damaged[group] = DamagedError(f"damaged row group {group} of the parquet file")
            raise self._damaged[group] from error

    def _in_group(self, group: int, row: int) -> bytes | None:
        if group != self._group or row < self._first:
            self._begin(group)
        while row >= self._first + len(self._batch):
            self._first += len(self._batch)
            self._batch = next(self._batches).column(0)
        value = self._batch[row - self._first].as_py()
        data: bytes | None = value["bytes"] if isinstance(value, dict) else value
        return data

    def _begin(self, group: int) -> None:
        self._group, self._first, self._batch = group, self._starts[group], ()
        self._batches = self._file.iter_batches(
            BATCH, row_groups=[group], columns=[self._leaf], use_threads=False
        )


def leaf(schema: pa.Schema, column: str) -> str:
    """Name of the parquet leaf column with the image bytes of `column`.

    Raises ColumnError, naming what exists, if the column holds no images.
    """
    if column not in schema.names:
        raise ColumnError(f"no column {column!r}; it has {', '.join(schema.names)}")
    kind = schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return f"{column}.bytes"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return column
    raise ColumnError(f"column {column!r} holds {kind}, not image bytes")
