"""Images in the parquet or Arrow files of a Hugging Face dataset."""

import errno
import posixpath
from collections import Counter
from collections.abc import Collection, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import local
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.compute import list_value_length

from clip_assets.errors import SourceError
from clip_assets.source import DamagedError, ImageRef, caption, layout, saved
from clip_assets.source.card import Declared, declared
from clip_assets.source.config import NOTHING, HuggingFaceConfig, Knowledge
from clip_assets.source.deadline import Deadline
from clip_assets.source.files import Files, LocalFiles
from clip_assets.source.kinds import POINTER, POINTER_BYTES, is_pointer, of_name
from clip_assets.source.named import Neighbours, fault_of, names
from clip_assets.source.ordered import in_order
from clip_assets.source.ranged import Ranged
from clip_assets.source.reading import LARGEST, late, path_below
from clip_assets.source.rows import (
    BATCH,
    ColumnError,
    ImageColumn,
    as_python,
    is_list,
    leaf,
    stored,
)
from clip_assets.source.saved import ArrowFile
from clip_assets.store.address import local_path
from clip_assets.store.entry import Entry
from clip_assets.store.local_files import refuse_larger

_MISSING = "missing, as the names of the others tell; copy it, or name the others in `files`"


class HuggingFace:
    """One split of a dataset; each row is an image, or several if the image column holds lists.

    The column holds images, or the names of files of the dataset, relative to the row's own file or
    to the dataset.

    Its id is the value of the id column, or the file's path without `.parquet` plus the row number;
    of a list, plus the number in the list.
    """

    def __init__(self, config: HuggingFaceConfig, knowledge: Knowledge = NOTHING) -> None:
        self._config, self._wanted = config, sorted(knowledge.fields)
        self._files = files_of(config)
        local = isinstance(self._files, LocalFiles)
        self._within = Deadline(config.deadline_seconds if local else None)
        # A file of the hub is downloaded whole, with a deadline of its own.
        self._late = late(config.deadline_seconds) if local else None
        self.skipped: Counter[str] = Counter()

    def list(self) -> Iterator[ImageRef]:
        self.skipped.clear()
        config = self._config
        entries = {entry.path: entry for entry in self._files.list(self.skipped)}
        chosen = self._within.call(lambda: self._chosen(entries), config.dataset)
        beside = _Beside(self._files, entries)
        for path in chosen:
            entry = entries.get(path) or Entry(path, 0, "", _MISSING)
            found = self._images(entry, beside)
            yield from self._within.each(found, partial(self._files.uri, path))
        others = entries.keys() - set(chosen) - beside.used
        self.skipped.update(_kind(path) for path in others)

    def _images(self, entry: Entry, beside: "_Beside") -> Iterator[ImageRef]:
        try:
            yield from _refs(self._files, entry, self._config, self._wanted, beside)
        except UnusableError as error:
            yield _fault(self._files, entry, str(error))

    def _chosen(self, entries: Collection[str]) -> Sequence[str]:
        config = self._config
        known = None if config.files else saved.splits(self._files, entries)
        if known is not None:
            return saved.shards(self._files, known, config.split, config.dataset)
        card = self._card(entries)
        found = layout.shards(entries, config.config, config.split, config.dataset, card)
        # Files named in the YAML may be a deliberate selection.
        missing = set() if config.files else layout.missing(found) - set(entries)
        return sorted({*found, *missing})

    def _card(self, entries: Container[str]) -> Declared | None:
        """The split's declared files: from the collection's YAML, or else the dataset's card."""
        if self._config.files is not None:
            return Declared({self._config.split: tuple(self._config.files)})
        if "README.md" not in entries:
            return None
        try:
            readme, _ = self._files.fetch("README.md")
            return declared(readme.read_bytes(), self._config.config)
        except OSError as error:
            raise SourceError(
                f"{self._files.uri('README.md')} cannot be read ({error}). It may say which files "
                "are which split; make it readable, or remove it."
            ) from error

    def beside(self, path: str) -> bytes:
        """A table of the dataset. Raises OSError."""

        def read() -> bytes:
            return self._files.fetch(path)[0].read_bytes()

        return self._within.call(read, self._files.uri(path))

    def read(self, refs: Sequence[ImageRef]) -> Iterator[bytes | OSError]:
        readers = local()

        def one(ref: ImageRef) -> bytes | OSError:
            if ref.row is None:
                return _whole(self._files, ref)
            if not hasattr(readers, "current"):  # a reader that hangs keeps its file
                column = self._config.image_column
                readers.current = _Current(self._files, column, one=len(refs) == 1)
            current: _Current = readers.current
            return current.read(ref)

        # One reader of parquet reads on where it stopped; files of their own come in parallel.
        threads = 16 if all(ref.row is None for ref in refs) else 1
        return in_order(one, refs, threads=threads, late=self._late)


class _Beside:
    """The files of a dataset that its rows name; `used` are those that some row did name."""

    def __init__(self, files: Files, entries: dict[str, Entry]) -> None:
        self._files, self._entries = files, entries
        self._neighbours = Neighbours(entries, files.uri("x")[:-1])
        self.used: set[str] = set()

    def named(self, ref: ImageRef, name: str | None, folder: str) -> ImageRef:
        """The image that is in the file of that name."""
        path = self._neighbours.path_of(name, folder) if name else None
        if path is None:
            return replace(ref, row=None, fault=fault_of(name))
        self.used.add(path)
        entry = self._entries[path]
        uri = self._files.uri(path)
        return replace(ref, uri=uri, etag=entry.etag, row=None, fault=entry.fault)


class UnusableError(Exception):
    """A parquet file that cannot be listed."""


class _Current:
    """The parquet file being read, or the error that prevents reading it."""

    def __init__(self, files: Files, column: str, *, one: bool) -> None:
        self._files, self._name, self._one = files, column, one
        self._at: tuple[str, str] | None = None
        self._images: ImageColumn | ArrowFile | OSError = OSError("no file")

    def read(self, ref: ImageRef) -> bytes | OSError:
        at = ref.uri, ref.etag.rpartition(":")[0]
        if at != self._at:
            self.close()
            self._at, self._images = at, self._opened(*at)
        if isinstance(self._images, OSError) or ref.row is None:
            return self._images if isinstance(self._images, OSError) else OSError("no row given")
        try:
            data = self._images.image(ref.row, ref.offset)
        except OSError as error:
            return error
        return DamagedError("the row holds no image bytes") if data is None else data

    def close(self) -> None:
        if not isinstance(self._images, OSError):
            self._images.close()

    def _opened(self, uri: str, etag: str) -> ImageColumn | ArrowFile | OSError:
        try:
            below = path_below(self._files, uri)
            file: Path | Ranged
            if self._one and not uri.endswith(".arrow"):
                file, found = self._files.for_one(below)
            else:
                file, found = self._files.fetch(below)
            # In another version of the file, the same row may be another image.
            if found and found != etag:
                return OSError("the parquet file has changed since it was catalogued")
            if isinstance(file, Path) and uri.endswith(".arrow"):
                return ArrowFile(file, self._name)
            return ImageColumn(file, self._name)
        except OSError as error:
            return error
        except (pa.ArrowException, ValueError):
            return DamagedError("damaged parquet file")


def _whole(files: Files, ref: ImageRef) -> bytes | OSError:
    """The bytes of an image that is a file of its own."""
    try:
        file, _ = files.fetch(path_below(files, ref.uri))
        refuse_larger(file.stat().st_size, LARGEST)
        return file.read_bytes()
    except OSError as error:
        return DamagedError(error.strerror) if error.errno == errno.EFBIG else error


def files_of(config: HuggingFaceConfig) -> Files:
    """The dataset's files, on the hub or in a local folder."""
    folder = local_path(config.dataset)
    if config.dataset.startswith(("/", ".", "~", "file:")) or folder.is_dir():
        return LocalFiles(str(folder), Deadline(config.deadline_seconds))
    from clip_assets.source.hub import HubFiles  # takes half a second to import

    return HubFiles(config.dataset, config.revision)


def _kind(path: str) -> str:
    kind = of_name(path)
    if path.endswith(".parquet"):
        return "parquet files of other splits or configurations"
    return {"image": "images outside parquet files", "unknown": "other files"}.get(kind, kind)


def _fault(files: Files, entry: Entry, fault: str) -> ImageRef:
    """The entry that stands for all rows of a file that cannot be listed."""
    name = f"{_stem(entry.path)}/"
    return ImageRef(name, files.uri(entry.path), entry.etag, fault=fault)


def _refs(
    files: Files,
    entry: Entry,
    config: HuggingFaceConfig,
    wanted: Sequence[str],
    beside: _Beside,
) -> Iterator[ImageRef]:
    uri, prefix = files.uri(entry.path), _stem(entry.path)
    with opened(files, entry) as file:
        named = names(file, config.image_column)
        if named is None:
            leaf(file.schema_arrow, config.image_column)
        _refuse_missing(file.schema_arrow, config, wanted)
        labels = _class_labels(file.schema_arrow, wanted)
        counts = None if named else _counts(file, config.image_column)
        for row, (name, text, values) in enumerate(_values(file, config, wanted)):
            ref = ImageRef(
                image_id=f"{prefix}/{row:08d}" if config.id_column is None else name,
                uri=uri,
                etag=f"{entry.etag}:{row}",
                row=row,
                caption=text,
                fields=_named(values, labels) if wanted else None,
            )
            if named is not None:
                yield from _of_names(ref, next(named), beside, posixpath.dirname(entry.path))
            else:
                yield from [ref] if counts is None else _several(ref, next(counts))


def _of_names(
    ref: ImageRef, value: str | list[str | None] | None, beside: _Beside, folder: str
) -> Iterator[ImageRef]:
    if not isinstance(value, list):
        yield beside.named(ref, value, folder)
        return
    for one, name in zip(_several(ref, len(value)), value or [None], strict=True):
        yield one if one.fault else beside.named(replace(one, offset=None), name, folder)


def _several(ref: ImageRef, count: int) -> Iterator[ImageRef]:
    """The images of a row that has a list of them."""
    if not count:
        yield replace(ref, fault="the row has no images")
    for place in range(count):
        name = f"{ref.image_id}/{place}" if ref.image_id else ""
        yield replace(ref, image_id=name, etag=f"{ref.etag}.{place}", offset=place)


def _counts(file: "pq.ParquetFile | ArrowFile", column: str) -> Iterator[int] | None:
    """How many images each row has; None if the column is not a list.

    If the images have names, only the names are read.
    """
    if not is_list(file.schema_arrow.field(column).type):
        return None
    named = column if isinstance(file, ArrowFile) else stored(file, column, "path")
    batches = file.iter_batches(BATCH, columns=[named], use_threads=False)
    return (
        count or 0 for batch in batches for count in list_value_length(batch.column(0)).to_pylist()
    )


def _stem(path: str) -> str:
    return path.removesuffix(".parquet").removesuffix(".arrow")


@contextmanager
def opened(files: Files, entry: Entry) -> "Iterator[pq.ParquetFile | ArrowFile]":
    """A file of rows. Raises UnusableError."""
    if entry.fault:
        raise UnusableError(entry.fault)
    try:
        if entry.size < POINTER_BYTES and is_pointer(files.fetch(entry.path)[0].read_bytes()):
            raise UnusableError(POINTER)
        if entry.path.endswith(".arrow"):
            yield ArrowFile(files.fetch(entry.path)[0])
            return
        with files.open(entry) as file:
            yield pq.ParquetFile(file, pre_buffer=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UnusableError(
            f"cannot be used: {error}; correct the column names in the collection's YAML, or if "
            "the file is damaged, download it again"
        ) from error


def _refuse_missing(schema: pa.Schema, config: HuggingFaceConfig, wanted: Sequence[str]) -> None:
    for name in (config.id_column, config.caption_column, *wanted):
        if name is not None and name not in schema.names:
            raise ColumnError(f"no column {name!r}; it has {', '.join(schema.names)}")


def _class_labels(schema: pa.Schema, wanted: Sequence[str]) -> dict[str, list[str]]:
    """The class names of the columns whose classes are stored as numbers, by column."""
    metadata = caption.json_object((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = (metadata.get("info") or {}).get("features") or {}
    kinds = {name: features.get(name) for name in wanted}
    return {
        name: kind["names"]
        for name, kind in kinds.items()
        if isinstance(kind, dict) and isinstance(kind.get("names"), list)
    }


def _named(values: dict[str, Any], labels: dict[str, list[str]]) -> dict[str, Any]:
    found = dict(values)
    for name, classes in labels.items():
        number = found.get(name)
        if isinstance(number, int) and 0 <= number < len(classes):
            found[name] = classes[number]
    return found


def _values(
    file: "pq.ParquetFile | ArrowFile", config: HuggingFaceConfig, wanted: Sequence[str]
) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """Id (empty if missing), caption and wanted fields of each row; reads no image bytes."""
    named = (config.id_column, config.caption_column, *wanted)
    columns = [*dict.fromkeys(name for name in named if name is not None)]
    if not columns:
        count = file.num_rows if isinstance(file, ArrowFile) else file.metadata.num_rows
        yield from (("", None, {}) for _ in range(count))
        return
    for batch in file.iter_batches(10_000, columns=columns, use_threads=False):
        for values in as_python(batch):
            name = values[config.id_column] if config.id_column else None
            text = values[config.caption_column] if config.caption_column else None
            fields = {name: values[name] for name in wanted}
            yield "" if name is None else str(name), caption.from_value(text), fields
