"""Checks every listing: at least one image, and a unique, usable id for each."""

from array import array
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np

from clip_assets.errors import SourceError
from clip_assets.source import ImageRef, Source


class Checked:
    """A source whose listing raises SourceError if it is empty or repeats an id.

    Repeats are detected at the end of the listing, by an 8-byte hash per image; a set of ids
    would need over 100 bytes each. The source is listed a second time only to name the repeated
    images in the error.
    """

    def __init__(self, source: Source, where: str) -> None:
        self._source, self._where = source, where

    def list(self) -> Iterator[ImageRef]:
        seen = array("Q")
        for ref in self._source.list():
            _refuse_unusable(ref)
            seen.append(_hash(ref.image_id))
            yield ref
        if not seen:
            raise SourceError(
                f"No images in {self._where}. Check the address in the collection's YAML."
            )
        self._refuse(_repeated(seen))

    def read(self, refs: Sequence[ImageRef]) -> Iterator[bytes | OSError]:
        return self._source.read(refs)

    def _refuse(self, hashes: set[int]) -> None:
        first: dict[str, ImageRef] = {}
        for ref in self._source.list() if hashes else ():
            if _hash(ref.image_id) not in hashes:
                continue
            other = first.setdefault(ref.image_id, ref)
            if other is not ref:
                raise SourceError(
                    f"Two images have the id {ref.image_id!r}: {_place(other)} and {_place(ref)}. "
                    "Rename or remove one of them."
                )


def _hash(image_id: str) -> int:
    return int.from_bytes(blake2b(image_id.encode(), digest_size=8).digest(), "little")


def _repeated(hashes: "array[int]") -> set[int]:
    ordered = np.sort(np.frombuffer(hashes, dtype=np.uint64))
    return set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def _refuse_unusable(ref: ImageRef) -> None:
    try:
        ref.image_id.encode()
        ref.uri.encode()
        usable = bool(ref.image_id) and "\0" not in ref.image_id
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise SourceError(
            f"The image at {_place(ref)!r} has no usable id ({ref.image_id!r}). "
            "Give it a name in UTF-8, without NUL."
        )


def _place(ref: ImageRef) -> str:
    if ref.row is not None:
        return f"{ref.uri} row {ref.row}"
    return ref.uri if ref.offset is None else f"{ref.uri} at byte {ref.offset}"
