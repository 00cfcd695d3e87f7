"""Tables about images: CSV, JSON lines, parquet, and COCO's JSON."""

import csv
import io
import json
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clip_assets.errors import SourceError
from clip_assets.source import caption
from clip_assets.source.rows import as_python

KINDS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
LARGEST = 2 << 30  # bytes of a table that is held in memory
csv.field_size_limit(LARGEST // 4)  # otherwise one text over 128 KiB makes its table unreadable

_IMAGE = ("file_name", "filename", "image", "image_id", "key", "file", "path", "image_name", "id")
_PACKED = (b"PK\3\4", b"\x1f\x8b", b"\xd0\xcf\x11\xe0")  # xlsx and zip, gzip, xls
_TEXT = ("caption", "captions", "text", "comment", "sentence", "description")

_NUMBERED = re.compile(r"(\.\w+)#\d+$")
"""Flickr8k and Flickr30k number the captions of an image: `a.jpg#0`."""

Row = Mapping[str, Any]


class Table:
    """The rows of one table, by the image they are about.

    `image` names the field with the image's name; by default it is the first of the usual ones.
    Raises SourceError if the table cannot be read, or has no such field.
    """

    def __init__(self, name: str, data: bytes, image: str | None = None) -> None:
        self.name = name
        self.rows: dict[str, list[Row]] = {}
        self._fields: dict[str, None] = {}
        try:
            found = [*_rows(name.lower(), data)]
        except (ValueError, RecursionError, csv.Error, pa.ArrowException, OSError) as error:
            raise SourceError(
                f"{name} cannot be read as a table ({error}). Correct it, or copy it again; it is "
                f"read by its extension, one of {', '.join(KINDS)}."
            ) from error
        for row in found:
            self._fields.update(dict.fromkeys(row))
        key = self._chosen(image, _IMAGE, "image", "with the image's name")
        for row in found:
            named = _key(row.get(key))
            if named:
                self.rows.setdefault(named, []).append(row)
        self._above = _common_folder(self.rows)
        self._bare = not any("/" in named for named in self.rows)

    def require(self, fields: Iterable[str]) -> None:
        """Raises SourceError if no row has one of these fields."""
        for field in fields:
            self._chosen(field, (), field, "")

    def has(self, field: str) -> bool:
        """Whether a row has the field."""
        return field in self._fields

    def keep_texts(self, text: str | None) -> str:
        """The field with the captions. Drops the rows of images without one."""
        field = self._chosen(text, _TEXT, "text", "with the captions")
        self.rows = {key: rows for key, rows in self.rows.items() if texts(rows, field)}
        return field

    def key_of(self, image_id: str, folder: str = "") -> str | None:
        """The key of the rows about an image. Names are relative to `folder`, which has the table.

        A name may omit the extension and, in a table without folders, the folders, too. All names
        in the table may begin with the same folder, such as one of the machine that wrote it.
        """
        name = unicodedata.normalize("NFC", image_id)
        names = [name.removeprefix(folder), name] if name.startswith(folder) else [name]
        if self._bare:
            names.append(name.rsplit("/", 1)[-1])
        if self._above:
            names += [self._above + one for one in names]
        for one in names:
            for key in (one, _stem(one)):
                if key in self.rows:
                    return key
        return None

    def _chosen(self, given: str | None, usual: Sequence[str], setting: str, what: str) -> str:
        for name in (given,) if given else usual:
            if name in self._fields:
                return name
        if not given:
            lower = {field.lower().replace(" ", "_"): field for field in reversed([*self._fields])}
            if found := next((lower[name] for name in usual if name in lower), None):
                return found
        missing = f"no field {given!r}" if given else f"no field {what}"
        raise SourceError(
            f"{self.name} has {missing}; it has {', '.join([*self._fields][:20]) or 'no rows'}. "
            f"Correct `{setting}` in the collection's YAML."
        )


def texts(rows: Iterable[Row], field: str) -> list[str]:
    """The captions of some rows; a row may have a list of them."""
    found: list[str] = []
    for row in rows:
        value = row.get(field)
        several = value if isinstance(value, list | tuple) else [value]
        found += [_plain(text).strip() for text in several]
    return [text for text in dict.fromkeys(found) if text]


def _key(value: object) -> str:
    text = unicodedata.normalize("NFC", _plain(value).strip())
    text = text.replace("\\", "/").removeprefix("./").lstrip("/")
    return _NUMBERED.sub(r"\1", text)


def _plain(value: object) -> str:
    """The value as a text: empty for null and NaN, whole numbers without `.0`, because a column
    with missing numbers is read as floats."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float):
        return "" if math.isnan(value) else str(value).removesuffix(".0")
    return str(value)


def _common_folder(names: Iterable[str]) -> str:
    """The folder, with its slash, that all names begin with; empty if there is none."""
    folders = [name.split("/")[:-1] for name in names] or [[]]
    shared = ""
    for one, other in zip(min(folders), max(folders), strict=False):
        if one != other:
            break
        shared += f"{one}/"
    return shared.lstrip("/")


def _stem(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.rpartition('.')[0] or file}"


def _rows(name: str, data: bytes) -> Iterator[Row]:
    if name.endswith(".parquet"):
        for batch in pq.ParquetFile(io.BytesIO(data)).iter_batches(10_000, use_threads=False):
            yield from as_python(batch)
        return
    text = caption.decoded(data)
    if name.endswith((".jsonl", ".ndjson")) and not text.lstrip().startswith("["):
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield _of_line(number, line)
    elif name.endswith((".jsonl", ".ndjson", ".json")):
        yield from _of_json(json.loads(text))
    elif data.startswith(_PACKED):
        raise ValueError("it is a spreadsheet or an archive; save it as CSV")
    else:
        yield from _of_csv(text)


def _of_line(number: int, line: str) -> Row:
    try:
        return _object(json.loads(line))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number}: {str(error).partition(': line 1')[0]}") from error


def _object(value: object) -> Row:
    if not isinstance(value, dict):
        raise ValueError("not every row is an object")  # noqa: TRY004 - a fault of the file
    return value


def _of_json(value: object) -> Iterator[Row]:
    if isinstance(value, list):
        yield from map(_object, value)
    elif isinstance(value, dict) and isinstance(value.get("images"), list):
        yield from _of_coco(value)
    elif isinstance(value, dict):
        for name, row in value.items():
            plain = isinstance(row, str | list)
            yield {"image": name, "caption": row} if plain else {"image": name, **_object(row)}
    else:
        raise ValueError("neither a list of rows nor COCO's annotations")  # noqa: TRY004


def _of_coco(value: dict[str, Any]) -> Iterator[Row]:
    """Each image's record, with its captions and the names of its categories."""
    named = {one.get("id"): one.get("name") for one in map(_object, value.get("categories") or ())}
    captions: dict[Any, list[str]] = defaultdict(list)
    categories: dict[Any, dict[Any, None]] = defaultdict(dict)
    for one in map(_object, value.get("annotations") or ()):
        if "caption" in one:
            captions[one.get("image_id")].append(one["caption"])
        if one.get("category_id") in named:
            categories[one.get("image_id")][named[one["category_id"]]] = None
    for image in map(_object, value["images"]):
        at = image.get("id")
        yield {**image, "caption": captions[at], "categories": [*categories[at]]}


def _of_csv(text: str) -> Iterator[Row]:
    # Files of old Macs end lines with CR alone.
    text = text.lstrip("\r\n") if "\n" in text else text.replace("\r", "\n").lstrip("\n")
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t|", key=header.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    reader.fieldnames = [field.strip() for field in reader.fieldnames or ()]
    for row in reader:
        yield {name: value for name, value in row.items() if isinstance(name, str)}
