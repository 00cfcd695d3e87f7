"""Datasets that `save_to_disk` of Hugging Face wrote: Arrow files, and JSON that names them."""

from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from clip_assets.errors import SourceError
from clip_assets.source import caption
from clip_assets.source.files import Files
from clip_assets.source.rows import image_in, leaf

_SPLITS, _STATE = "dataset_dict.json", "state.json"
_REMEDY = "It names the files of the dataset; save or copy the dataset again."


def splits(files: Files, paths: Container[str]) -> list[str] | None:
    """The splits of a dataset that was saved; empty if it has no names for them, None if it was not
    saved."""
    if _SPLITS in paths:
        return [str(name) for name in _json(files, _SPLITS).get("splits") or ()]
    return [] if _STATE in paths else None


def shards(files: Files, known: Sequence[str], split: str, where: str) -> list[str]:
    """The Arrow files of the split, in order. Raises SourceError if there is no such split."""
    if known and split not in known:
        raise SourceError(
            f"{where} was saved with the splits {', '.join(known)}, not {split!r}; set `split` to "
            "one of them."
        )
    below = f"{split}/" if known else ""
    state = _json(files, below + _STATE)
    return [f"{below}{one['filename']}" for one in state.get("_data_files") or ()]


def _json(files: Files, path: str) -> dict[str, Any]:
    try:
        found = caption.json_object(files.fetch(path)[0].read_bytes())
    except OSError as error:
        raise SourceError(f"{files.uri(path)} cannot be read ({error}). {_REMEDY}") from error
    if not found:
        raise SourceError(f"{files.uri(path)} is not a JSON object. {_REMEDY}")
    return found


class ArrowFile:
    """A file of a saved dataset; it is mapped, so only what is used is read from the disk."""

    def __init__(self, path: Path, column: str | None = None) -> None:
        self._table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
        self.schema_arrow: pa.Schema = self._table.schema
        self.num_rows: int = self._table.num_rows
        self._column = column
        if column is not None:
            leaf(self.schema_arrow, column)

    def iter_batches(self, size: int, columns: Sequence[str], **_: object) -> Iterator[Any]:
        """Like that of `pyarrow.parquet.ParquetFile`."""
        yield from self._table.select(columns).to_batches(size)

    def chunks(self, column: str) -> list[pa.Array]:
        """The column as it is stored."""
        found: list[pa.Array] = self._table.column(column).chunks
        return found

    def image(self, row: int, place: int | None) -> bytes | None:
        """Like that of `rows.ImageColumn`."""
        return image_in(self._table.column(self._column)[row], place)

    def close(self) -> None:
        """The file stays mapped while something uses it."""
        del self._table
