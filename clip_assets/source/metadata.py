"""Metadata in files beside the images, in the layouts of imagefolder and img2dataset."""

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

from clip_assets.source import caption
from clip_assets.source.config import METADATA
from clip_assets.source.deadline import Deadline
from clip_assets.source.reading import readable
from clip_assets.source.table import LARGEST, Table
from clip_assets.source.texts import Texts
from clip_assets.source.tree import Tree
from clip_assets.store.entry import Entry


class Metadata:
    """The metadata of the images of a folder; `tables` are the paths of the tables.

    Raises SourceError if a table cannot be read, or none has one of the fields that are wanted.
    """

    def __init__(
        self,
        objects: Tree,
        listed: Sequence[Entry],
        wanted: Collection[str],
        texts: Texts,
        within: Deadline,
    ) -> None:
        self._objects, self._texts, self._within = objects, texts, within
        named = [entry for entry in listed if entry.path.rpartition("/")[2] in METADATA]
        self.tables = {entry.path for entry in named}
        self._by_folder: dict[str, list[Table]] = {}
        for path in sorted(self.tables):
            self._by_folder.setdefault(path.rpartition("/")[0], []).append(self._table(path))
        _require(list(chain.from_iterable(self._by_folder.values())), wanted)
        self._beside = {
            unicodedata.normalize("NFC", entry.path): entry
            for entry in listed
            if entry.path.endswith(".json") and not entry.fault
        }

    def of(self, path: str) -> Mapping[str, Any] | None:
        """The metadata of the image at `path`, from the nearest table that has a row about it."""
        folder = path.rpartition("/")[0]
        while True:
            for table in self._by_folder.get(folder, ()):
                key = table.key_of(path, f"{folder}/" if folder else "")
                if key is not None:
                    return table.rows[key][0]
            if not folder:
                break
            folder = folder.rpartition("/")[0]
        return self._sidecar(path)

    def _sidecar(self, path: str) -> Mapping[str, Any] | None:
        path = unicodedata.normalize("NFC", path)  # the two files may come from two systems
        for name in (f"{path.rpartition('.')[0]}.json", f"{path}.json"):
            if name in self._beside:
                try:
                    return caption.json_object(self._texts.get(self._beside[name]))
                except OSError:
                    return None
        return None

    def _table(self, path: str) -> Table:
        try:
            read = partial(self._objects.get, path, limit=LARGEST)
            return Table(path, self._within.call(read, self._objects.uri(path)))
        except OSError as error:
            raise readable(self._objects, error) from error


def _require(tables: Sequence[Table], wanted: Collection[str]) -> None:
    """Raises SourceError if there are tables, and none has one of the fields."""
    for field in wanted:
        if tables and not any(table.has(field) for table in tables):
            tables[0].require([field])
