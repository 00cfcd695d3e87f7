"""Erasures as files: the request, written first, and the receipt, written last.

Both are kept: they stop a later catalog from listing the image again, and a later job from
embedding the same file under another name.
"""

from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from clip_assets.store.objects import Objects

FOLDER = "erasures"


class Request(BaseModel):
    """Which images to erase, who asked for it and why; written before anything changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    erasure: str
    collection: str
    image_ids: tuple[str, ...]
    reason: str
    requested_by: str
    requested_at: datetime


class ErasedImage(BaseModel):
    """One erased image; `sha256` is that of its file, or None if it was never embedded.

    `indexes` are those that had a row for it. `copy_of_asked` is true if the image was not
    requested itself but has the same bytes as one that was.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_id: str
    sha256: str | None
    indexes: tuple[int, ...]
    copy_of_asked: bool


class RewrittenFile(BaseModel):
    """A file that contained the image, and the file without it that replaces it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    old_path: str
    old_sha256: str
    new_path: str
    new_sha256: str


class Receipt(BaseModel):
    """Everything that was done; contains hashes of what was erased, but none of its content.

    `vacuumed` names the tables whose dead rows were removed from heap and HNSW.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    request: Request
    images: tuple[ErasedImage, ...]
    answers_clear_at: datetime
    files: tuple[RewrittenFile, ...]
    deleted: tuple[str, ...]
    rows_deleted: dict[str, int]
    vacuumed: tuple[str, ...]
    completed_at: datetime


class Erased(NamedTuple):
    """What must not come back: image ids, and hashes of files under any name."""

    image_ids: frozenset[str]
    sha256s: frozenset[str]


def request_path(erasure: str) -> str:
    return f"{FOLDER}/{erasure}/request.json"


def receipt_path(erasure: str) -> str:
    return f"{FOLDER}/{erasure}/receipt.json"


def journal_path(erasure: str) -> str:
    """Path of the journal of removed files, from which the receipt is written."""
    return f"{FOLDER}/{erasure}/journal.json"


def erased(objects: Objects) -> Erased:
    """Everything ever requested to be erased from the collection."""
    ids = {name for request in requests(objects) for name in request.image_ids}
    images = [image for receipt in receipts(objects) for image in receipt.images]
    hashes = {image.sha256 for image in images if image.sha256}
    return Erased(frozenset(ids | {image.image_id for image in images}), frozenset(hashes))


def requests(objects: Objects) -> list[Request]:
    """All requests, oldest first: their names begin with the date."""
    found = sorted(e.path for e in objects.list(FOLDER) if e.path.endswith("/request.json"))
    return [Request.model_validate_json(objects.get(path)) for path in found]


def receipts(objects: Objects) -> list[Receipt]:
    found = sorted(e.path for e in objects.list(FOLDER) if e.path.endswith("/receipt.json"))
    return [Receipt.model_validate_json(objects.get(path)) for path in found]


def open_requests(objects: Objects) -> list[Request]:
    """Requests without a receipt: their erasure was interrupted."""
    done = {receipt.request.erasure for receipt in receipts(objects)}
    return [request for request in requests(objects) if request.erasure not in done]
