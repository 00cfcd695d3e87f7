"""Adds captions and declared columns to each listed image."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableSequence, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from clip_assets.column import Column, ColumnType, as_json, parsed
from clip_assets.source import ImageRef, Source, caption
from clip_assets.source.config import CaptionsConfig, Knowledge, TableConfig
from clip_assets.source.table import Table, texts

ENOUGH = 0.9
"""Share of the images; if fewer have a row in a table, a check warns."""


class Join(BaseModel):
    """How many images have a row in one table or in the source's own metadata.

    `rows` counts a table's names, `used` those that match an image; `missed` is one that does not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    images: int
    matched: int
    rows: int = 0
    used: int = 0
    missed: str = ""

    @property
    def sound(self) -> bool:
        return self.matched >= ENOUGH * self.images

    @property
    def sentence(self) -> str:
        text = f"{self.table}: {self.matched} of {self.images} images have a row"
        if self.rows > self.used:
            text += f"; {self.rows - self.used} of {self.rows} names in it match no image"
            text += f", such as {self.missed!r}"
        return text


class Misfit(BaseModel):
    """Values of a column that are not of its type and so are not stored; `example` explains one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    count: int
    example: str

    @property
    def sentence(self) -> str:
        return f"column {self.column}: {self.count} values cannot be used, such as {self.example}"


class JoinReport(BaseModel):
    """What the joins of one listing found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    joins: tuple[Join, ...] = ()
    misfits: tuple[Misfit, ...] = ()

    @property
    def sentences(self) -> list[str]:
        return [*(one.sentence for one in self.joins), *(one.sentence for one in self.misfits)]

    @property
    def faults(self) -> list[str]:
        """The sentences about what is probably a mistake."""
        found = [join.sentence for join in self.joins if not join.sound]
        return found + [misfit.sentence for misfit in self.misfits]


class _TableJoin:
    """A table, and which of its rows the listed images use."""

    def __init__(self, table: Table, folder: str = "") -> None:
        self._table, self._folder = table, folder
        self._used: set[str] = set()
        self._images = self._matched = 0

    def rows(self, image_id: str) -> Sequence[Mapping[str, Any]]:
        self._images += 1
        key = self._table.key_of(image_id, self._folder)
        if key is None:
            return ()
        self._matched += 1
        self._used.add(key)
        return self._table.rows[key]

    def join(self) -> Join:
        missed = next((key for key in self._table.rows if key not in self._used), "")
        return Join(
            table=self._table.name,
            images=self._images,
            matched=self._matched,
            rows=len(self._table.rows),
            used=len(self._used),
            missed=missed,
        )


class JoinedSource:
    """A source whose images have captions and columns as declared.

    `open_table` opens a table by its address; it returns the folder that its names are relative to.
    """

    def __init__(
        self,
        source: Source,
        knowledge: Knowledge,
        open_table: Callable[[TableConfig], tuple[Table, str]],
    ) -> None:
        self._source, self._knowledge, self._open = source, knowledge, open_table
        self._columns = {
            name: (column.origin.removeprefix("metadata."), column.type)
            for name, column in knowledge.columns.items()
            if column.origin.startswith("metadata.")
        }
        self._misfits: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self.told = JoinReport()

    @property
    def skipped(self) -> Counter[str]:
        return self._source.skipped

    def list(self) -> Iterator[ImageRef]:
        """Raises SourceError, too, if a declared table is missing or lacks a declared field."""
        self._misfits.clear()
        joined: list[_TableJoin] = []
        metadata = self._knowledge.metadata
        one = None
        own = Counter[bool]()
        if metadata and self._knowledge.fields:
            table, folder = self._open(metadata)
            table.require(self._knowledge.fields)
            one = _TableJoin(table, folder)
            joined.append(one)
        captions = self._captions(self._knowledge.captions, joined)
        for ref in self._source.list():
            if ref.fault:
                yield ref
                continue
            known = next(iter(one.rows(ref.image_id)), None) if one else ref.fields
            own[known is not None] += 1
            text = captions(ref, known) or ref.caption
            yield replace(ref, caption=text, columns=self._typed(known), fields=None)
        joins = [one.join() for one in joined]
        if self._knowledge.fields and not metadata:
            images, matched = own.total(), own[True]
            joins.insert(0, Join(table="metadata", images=images, matched=matched))
        self.told = JoinReport(
            joins=tuple(joins),
            misfits=tuple(
                Misfit(column=name, count=count, example=self._examples[name])
                for name, count in sorted(self._misfits.items())
            ),
        )

    def read(self, refs: Sequence[ImageRef]) -> Iterator[bytes | OSError]:
        return self._source.read(refs)

    def _captions(
        self, config: CaptionsConfig | None, joined: MutableSequence[_TableJoin]
    ) -> Callable[[ImageRef, Mapping[str, Any] | None], str | None]:
        """A function that returns an image's captions, one per line, or None."""
        if config is None:
            return lambda ref, known: None
        if field := config.field:
            return lambda ref, known: _lines(texts([known] if known else [], field))
        table, folder = self._open(config)
        text = table.keep_texts(config.text)
        one = _TableJoin(table, folder)
        joined.append(one)
        return lambda ref, known: _lines(texts(one.rows(ref.image_id), text))

    def _typed(self, known: Mapping[str, Any] | None) -> str | None:
        values = {}
        for name, (field, kind) in self._columns.items():
            value = self._value(name, kind, known.get(field)) if known else None
            if value is not None:
                values[name] = value
        return json.dumps(values, ensure_ascii=False) if values else None

    def _value(self, name: str, kind: ColumnType, value: object) -> Any:
        try:
            return as_json(parsed(kind, value))
        except ValueError as error:
            self._misfits[name] += 1
            self._examples.setdefault(name, str(error))
            return None


def declared(columns: Mapping[str, Column], of: str | None) -> dict[str, Any]:
    """The column values in a catalog's row, as Python objects of their types."""
    known = json.loads(of) if of else {}
    return {name: parsed(column.type, known.get(name)) for name, column in columns.items()}


def _lines(several: "Sequence[str]") -> str | None:
    return caption.clean("\n".join(" ".join(text.split()) for text in several))
