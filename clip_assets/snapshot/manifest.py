"""`manifest.json`, written last, makes a snapshot valid; `latest.json` points at the newest one."""

import hashlib
from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from clip_assets.errors import StoreError
from clip_assets.model import ModelIdentity
from clip_assets.snapshot.engine import Engine
from clip_assets.store.objects import Objects

FOLDER = "snapshots"
LATEST = "latest.json"
_MANIFEST = "manifest.json"


class Piece(BaseModel):
    """One file of the snapshot: a section of the compressed tar, verified before it is unpacked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What a snapshot contains and which engine it needs; `bytes` is its unpacked size."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    snapshot: str
    collection: str
    release: int
    content: str
    identity: ModelIdentity
    rows: int
    made_at: datetime
    engine: Engine
    bytes: int
    pieces: tuple[Piece, ...]


class Latest(BaseModel):
    """The pointer to the snapshot that a replica uses if it is given the folder of snapshots."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    collection: str
    release: int
    snapshot: str
    manifest_sha256: str


def piece(snapshot: str, number: int) -> str:
    return f"{snapshot}/piece-{number:05d}.tar.zst"


def write(objects: Objects, manifest: Manifest) -> None:
    """Write the manifest, then make the snapshot the newest one."""
    data = manifest.model_dump_json(indent=1).encode()
    path = f"{manifest.snapshot}/{_MANIFEST}"
    if not objects.create(path, data):
        raise StoreError(f"{objects.uri(path)} already exists. Make the snapshot again.")
    pointer = Latest(
        collection=manifest.collection,
        release=manifest.release,
        snapshot=manifest.snapshot,
        manifest_sha256=hashlib.sha256(data).hexdigest(),
    )
    objects.put(LATEST, pointer.model_dump_json(indent=1).encode())


def latest(objects: Objects) -> Latest | None:
    """The pointer, or None if there is no snapshot yet."""
    try:
        return Latest.model_validate_json(objects.get(LATEST))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise StoreError(f"{objects.uri(LATEST)} is damaged. Make a new snapshot.") from error


def read(uri: str) -> tuple[Objects, Manifest]:
    """The snapshot that `uri` names; if `uri` is a folder of snapshots, the newest of them.

    The returned objects are those of the folder of snapshots. Raises StoreError if there is no
    snapshot, or its manifest was changed.
    """
    objects = Objects(uri)
    pointer = latest(objects)
    if pointer is None:
        return _named(uri)
    data = _manifest(objects, pointer.snapshot)
    if hashlib.sha256(data).hexdigest() != pointer.manifest_sha256:
        raise StoreError(
            f"{objects.uri(pointer.snapshot)} cannot be used: its manifest was changed. Make a new "
            "snapshot, or name another one."
        )
    return objects, _parsed(objects, pointer.snapshot, data)


def _named(uri: str) -> tuple[Objects, Manifest]:
    root, _, snapshot = uri.rstrip("/").rpartition("/")
    if not snapshot or (urlsplit(uri).scheme and not urlsplit(root).netloc):
        raise StoreError(f"{uri} has no snapshot. Make one with `clip-assets snapshot`.")
    objects = Objects(root)
    return objects, _parsed(objects, snapshot, _manifest(objects, snapshot))


def _manifest(objects: Objects, snapshot: str) -> bytes:
    try:
        return objects.get(f"{snapshot}/{_MANIFEST}")
    except FileNotFoundError as error:
        raise StoreError(
            f"{objects.uri(snapshot)} has no snapshot. Make one with `clip-assets snapshot`."
        ) from error


def _parsed(objects: Objects, snapshot: str, data: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        raise StoreError(
            f"{objects.uri(snapshot)} is not a snapshot that this version can read. Make one with "
            "this version."
        ) from error
