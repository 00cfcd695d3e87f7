"""`commit.json`: the file that makes a shard's parts visible. Readers trust nothing else."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from clip_assets.errors import StoreError
from clip_assets.model import ModelIdentity, Precision
from clip_assets.store import parquet, paths
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion


class Part(BaseModel):
    """One file of a shard, relative to the collection's root."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    rows: int
    bytes: int
    sha256: str


class Commit(BaseModel):
    """What one job wrote for one version of one shard.

    `rows` + `rejected` equals the shard's live catalog rows. `seconds` is the wall time of the
    attempt that committed; it excludes parts that an earlier attempt finished.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    collection: str
    shard: str
    version: int
    catalog_digest: str
    identity: ModelIdentity
    parts: tuple[Part, ...]
    rejects: Part
    queries: Part
    rows: int
    rejected: int
    run_id: str
    job_id: str
    code_version: str
    device: str
    precision: Precision
    mean: tuple[float, ...]
    seconds: float = 0.0
    images_encoded: int = 0

    @property
    def at(self) -> ShardVersion:
        return ShardVersion(self.shard, self.version, self.catalog_digest)

    @property
    def digest(self) -> str:
        """sha256 over the hashes of all files: identifies the content, whichever job wrote it."""
        hashes = [part.sha256 for part in (*self.parts, self.rejects, self.queries)]
        return hashlib.sha256("\n".join([self.identity.weights, *hashes]).encode()).hexdigest()


def write(objects: Objects, slug: str, commit: Commit) -> Commit:
    """Create the commit, or return the one another writer created first."""
    path = paths.commit(slug, commit.at)
    if objects.create(path, commit.model_dump_json(indent=1).encode()):
        return commit
    return _parse(objects, path)


def read(objects: Objects, slug: str, at: ShardVersion) -> Commit | None:
    """The commit of exactly this version of the shard, or None."""
    path = paths.commit(slug, at)
    try:
        return _parse(objects, path)
    except FileNotFoundError:
        return None


def slugs(objects: Objects) -> list[str]:
    """Slugs of the models that have at least one commit."""
    entries = objects.list(paths.EMBEDDINGS)
    found = {e.path.split("/")[1] for e in entries if e.path.endswith("/commit.json")}
    return sorted(found)


def newest(objects: Objects, slug: str) -> dict[str, str]:
    """Path of the newest commit of each shard, by shard key; one listing, no file is read.

    A commit never changes, so comparing paths is enough to detect a new one.
    """
    found: dict[str, tuple[int, str]] = {}
    for entry in objects.list(paths.embeddings(slug)):
        *_, shard, version, name = entry.path.split("/")
        if name == "commit.json":
            number = int(version[1:].split("-")[0])
            found[shard] = max(found.get(shard, (0, "")), (number, entry.path))
    return {shard: path for shard, (_, path) in sorted(found.items())}


def read_path(objects: Objects, path: str) -> Commit:
    """The commit at a path returned by `newest`."""
    return _parse(objects, path)


def part_of(path: str, data: bytes, rows: int) -> Part:
    """The part whose file at `path` holds `data`."""
    digest = hashlib.sha256(data).hexdigest()
    return Part(path=path, rows=rows, bytes=len(data), sha256=digest)


def put_part(objects: Objects, path: str, table: pa.Table) -> Part:
    """Write the rows as one file of a shard; readers see it once a commit names it."""
    data = parquet.to_bytes(table)
    objects.put(path, data)
    return part_of(path, data, len(table))


def read_part(objects: Objects, part: Part, columns: list[str] | None = None) -> pa.Table:
    """The rows of one committed part.

    Raises StoreError if its bytes differ from the committed ones.
    """
    try:
        data = objects.get(part.path)
    except FileNotFoundError as error:
        raise _missing(objects, part) from error
    if hashlib.sha256(data).hexdigest() != part.sha256:
        raise _tampered(objects, part)
    return parquet.from_bytes(data, objects.uri(part.path), columns)


@contextmanager
def part_on_disk(objects: Objects, part: Part) -> Iterator[Path]:
    """The file of one committed part, for callers that cannot hold all of it in memory.

    Raises StoreError if its bytes differ from the committed ones.
    """
    try:
        with objects.on_disk(part.path) as path:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != part.sha256:
                raise _tampered(objects, part)
            yield path
    except FileNotFoundError as error:
        raise _missing(objects, part) from error


def _missing(objects: Objects, part: Part) -> StoreError:
    return StoreError(
        f"{objects.uri(part.path)} is committed but missing. Remove its folder's commit.json "
        "and materialize the shard again."
    )


def _tampered(objects: Objects, part: Part) -> StoreError:
    return StoreError(
        f"{objects.uri(part.path)} differs from the file that was committed. Remove its folder and "
        "materialize the shard again."
    )


def _parse(objects: Objects, path: str) -> Commit:
    try:
        return Commit.model_validate_json(objects.get(path))
    except ValidationError as error:
        raise StoreError(
            f"{objects.uri(path)} is not a commit that this version can read. Remove its folder "
            f"and materialize the shard again. ({error.error_count()} fields differ)"
        ) from error
