"""Checks every listing: at least one usable image, and an id and an address that can be stored."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from clip_assets.errors import SourceError
from clip_assets.source import ImageRef, Source
from clip_assets.source.joins import JoinedSource, JoinReport

LONGEST = 2_600
"""Bytes of an id or an address: a row of a Postgres index takes 2,704."""


class Checked:
    """A source whose listing raises SourceError if it has no usable image.

    An image whose name or address cannot be stored is listed under its name with the unusable
    characters escaped; if it cannot be read by that address, `fault` says so.
    """

    def __init__(self, source: Source, where: str) -> None:
        self._source, self._where = source, where

    @property
    def skipped(self) -> Counter[str]:
        return self._source.skipped

    @property
    def told(self) -> JoinReport:
        """What the last listing found for captions and declared columns."""
        return self._source.told if isinstance(self._source, JoinedSource) else JoinReport()

    def list(self) -> Iterator[ImageRef]:
        usable, first = False, ""
        for ref in map(_storable, self._source.list()):
            usable = usable or ref.fault is None
            first = first or (f"{ref.uri}: {ref.fault}" if ref.fault else "")
            yield ref
        if usable:
            return
        if first:
            raise SourceError(f"No image in {self._where} can be used. {first}.")
        counts = ", ".join(f"{count} {kind}" for kind, count in self.skipped.most_common(5))
        raise SourceError(
            f"No images in {self._where}{f', only {counts}' if counts else ''}. "
            "Check the address in the collection's YAML."
        )

    def read(self, refs: Sequence[ImageRef]) -> Iterator[bytes | OSError]:
        return self._source.read(refs)


def _storable(ref: ImageRef) -> ImageRef:
    """The image with an id and an address that parquet and Postgres accept."""
    image_id, uri = _escaped(ref.image_id), _escaped(ref.uri)
    fault = ref.fault
    if uri != ref.uri:
        fault = fault or "its name is not UTF-8; rename it"
    if not image_id:
        image_id = _place(ref)
        fault = fault or "it has no id; give it one in the id column"
    for what, text in (("name", image_id), ("address", uri)):
        if len(text.encode()) > LONGEST:
            fault = fault or f"its {what} is longer than {LONGEST:,} bytes; shorten it"
    if (image_id, uri, fault) == (ref.image_id, ref.uri, ref.fault):
        return ref
    return replace(ref, image_id=image_id, uri=uri, fault=fault)


def _escaped(text: str) -> str:
    """The text, with characters that are not UTF-8 as \\xNN or \\uNNNN, and NUL as \\x00."""
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            text = os.fsencode(text).decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:
            text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\0", "\\x00")


def _place(ref: ImageRef) -> str:
    if ref.row is not None:
        return f"{ref.uri} row {ref.row}"
    return ref.uri if ref.offset is None else f"{ref.uri} at byte {ref.offset}"
