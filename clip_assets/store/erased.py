"""Erasures as files: what was asked for, written first, and the receipt, written last.

Both stay: they are what keeps a later catalog from listing the image again, and a later job from
embedding the same file under another name.
"""

from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from clip_assets.store.objects import Objects

FOLDER = "erasures"


class Request(BaseModel):
    """Which images are to go, who asked and why; written before anything is touched."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    erasure: str
    collection: str
    image_ids: tuple[str, ...]
    reason: str
    requested_by: str
    requested_at: datetime


class ErasedImage(BaseModel):
    """One image that is gone: `sha256` of its file, None if it was never embedded.

    `indexes` are those that had a row of it. `copy_of_asked` is true of a file with the same bytes
    as one that was asked for, under another name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_id: str
    sha256: str | None
    indexes: tuple[int, ...]
    copy_of_asked: bool


class RewrittenFile(BaseModel):
    """A file that held the image, and the one that takes its place without it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    old_path: str
    old_sha256: str
    new_path: str
    new_sha256: str


class Receipt(BaseModel):
    """What was done, complete; holds hashes of what was erased and nothing of its content.

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
    """What must not come back: names of images, and hashes of files under whatever name."""

    image_ids: frozenset[str]
    sha256s: frozenset[str]


def request_path(erasure: str) -> str:
    return f"{FOLDER}/{erasure}/request.json"


def receipt_path(erasure: str) -> str:
    return f"{FOLDER}/{erasure}/receipt.json"


def journal_path(erasure: str) -> str:
    """What the receipt will say of files, kept while they are being removed."""
    return f"{FOLDER}/{erasure}/journal.json"


def erased(objects: Objects) -> Erased:
    """Everything that was ever asked to be erased from the collection."""
    ids = {name for request in requests(objects) for name in request.image_ids}
    images = [image for receipt in receipts(objects) for image in receipt.images]
    hashes = {image.sha256 for image in images if image.sha256}
    return Erased(frozenset(ids | {image.image_id for image in images}), frozenset(hashes))


def requests(objects: Objects) -> list[Request]:
    """In the order of their names, which begin with the date."""
    found = sorted(e.path for e in objects.list(FOLDER) if e.path.endswith("/request.json"))
    return [Request.model_validate_json(objects.get(path)) for path in found]


def receipts(objects: Objects) -> list[Receipt]:
    found = sorted(e.path for e in objects.list(FOLDER) if e.path.endswith("/receipt.json"))
    return [Receipt.model_validate_json(objects.get(path)) for path in found]


def open_requests(objects: Objects) -> list[Request]:
    """Those without a receipt: a run that was cut short."""
    done = {receipt.request.erasure for receipt in receipts(objects)}
    return [request for request in requests(objects) if request.erasure not in done]
