"""Rows of a dataset that name the files of their images instead of holding their bytes."""

import posixpath
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from clip_assets.source.rows import as_python, is_list, stored
from clip_assets.source.saved import ArrowFile
from clip_assets.store.entry import Entry

_ROWS = 10_000
Name = str | None


def names(file: "pq.ParquetFile | ArrowFile", column: str) -> Iterator[Name | list[Name]] | None:
    """What each row names, several if the column holds lists; None if the column holds bytes."""
    schema: pa.Schema = file.schema_arrow
    if column not in schema.names:
        return None
    kind = schema.field(column).type
    one = kind.value_type if is_list(kind) else kind
    read = column
    if pa.types.is_struct(one) and one.get_field_index("path") >= 0:
        if is_list(kind) or not _lacks_bytes(file, column, one):
            return None
        read = column if isinstance(file, ArrowFile) else stored(file, column, "path")
    elif not _is_text(one):
        return None
    batches = file.iter_batches(_ROWS, columns=[read], use_threads=False)
    return (_told(*row.values()) for batch in batches for row in as_python(batch))


class Neighbours:
    """The files of a dataset, by the names that rows give them. `root` is the dataset's address."""

    def __init__(self, entries: Mapping[str, Entry], root: str) -> None:
        self._root = root
        self._by_name = {unicodedata.normalize("NFC", path): path for path in entries}

    def path_of(self, name: str, folder: str) -> str | None:
        """The path of a file that a table in `folder` names, relative to itself or to the dataset.

        None if the dataset has no such file: what is outside of it is never read.
        """
        plain = unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix(self._root)
        for one in (posixpath.join(folder, plain), plain):
            if found := self._by_name.get(posixpath.normpath(one)):
                return found
        return None


def fault_of(name: Name) -> str:
    """Why a row has no image, where its name leads to no file of the dataset."""
    if not name:
        return "the row names no image"
    if "://" in name:
        return (
            "the row has an address instead of an image; download the images first, for example "
            "with img2dataset"
        )
    return f"the dataset has no file {name[:200]!r}, which the row names"


def _told(value: object) -> Name | list[Name]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_name(item) for item in value]
    return _name(value)


def _name(value: object) -> Name:
    if isinstance(value, Mapping):
        value = value.get("path")
    return None if value is None else str(value)


def _is_text(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(of(kind) for of in kinds)


def _lacks_bytes(file: "pq.ParquetFile | ArrowFile", column: str, kind: pa.StructType) -> bool:
    """Whether no row at all has bytes, by what the file says of itself."""
    if kind.get_field_index("bytes") < 0:
        return True
    if isinstance(file, ArrowFile):
        return all(chunk.field("bytes").null_count == len(chunk) for chunk in file.chunks(column))
    leaf = stored(file, column, "bytes")
    number = [file.schema.column(at).path for at in range(len(file.schema))].index(leaf)
    groups = [file.metadata.row_group(at) for at in range(file.num_row_groups)]
    known = [(group.num_rows, group.column(number).statistics) for group in groups]
    return all(
        one is not None and one.has_null_count and one.null_count == rows for rows, one in known
    )
