"""`commit.json`: the file that makes a shard's parts visible. Readers trust nothing else."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clip_assets.errors import DamageError
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

    `rows` + `rejected` equals the shard's live catalog rows. Of the rejected images, `unreadable`
    could not be read, and `erased` came back after their erasure. `seconds` is the wall time of the
    attempt that committed; it excludes parts that an earlier attempt finished. Of the rows,
    `images_encoded` went through the model in that attempt, and `images_carried` have the same
    content as in the commit at `carried_from`, whose run and device made their vectors unless it
    carried them over, too.

    A job embeds the next shard while it writes this one, so `seconds` starts when the job's
    previous commit ends. `stage_seconds` are the busy seconds of each stage in that time, summed
    over its threads (`workers`); `limited_by` is the stage that was busy for the largest share.

    `seal` is the sha256 of all other fields, which reveals edits. Commits of older versions have
    none.
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
    stage_seconds: dict[str, float] = Field(default_factory=dict)
    workers: dict[str, int] = Field(default_factory=dict)
    limited_by: str = ""
    images_encoded: int = 0
    images_carried: int = 0
    carried_from: str | None = None
    attempt: int = 0
    unreadable: int = 0
    erased: int = 0
    seal: str = ""

    @property
    def at(self) -> ShardVersion:
        return ShardVersion(self.shard, self.version, self.catalog_digest, self.attempt)

    @property
    def damaged(self) -> int:
        """Images that are rejected until their file changes."""
        return self.rejected - self.unreadable - self.erased

    @property
    def digest(self) -> str:
        """sha256 over the hashes of all files: identifies the content, independent of the job."""
        hashes = [part.sha256 for part in (*self.parts, self.rejects, self.queries)]
        return hashlib.sha256("\n".join([self.identity.weights, *hashes]).encode()).hexdigest()


def write(objects: Objects, slug: str, commit: Commit) -> Commit:
    """Create the commit, or return the one another writer created first."""
    path = path_of(slug, commit)
    sealed = seal(commit)
    if objects.create(path, sealed.model_dump_json(indent=1).encode()):
        return sealed
    return _parse(objects, path)


def seal(commit: Commit) -> Commit:
    """The commit with the seal of its other fields."""
    return commit.model_copy(update={"seal": _seal_of(commit.model_dump_json())})


def _seal_of(text: str | bytes) -> str:
    # Over the fields in the file, because it lacks fields that later versions added.
    fields = {name: value for name, value in json.loads(text).items() if name != "seal"}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def path_of(slug: str, commit: Commit) -> str:
    return paths.commit(slug, commit.at, complete=not commit.unreadable)


def read(objects: Objects, slug: str, at: ShardVersion) -> Commit | None:
    """The commit of exactly this version of the shard by its latest attempt, or None."""
    found = _either(objects, slug, at)
    while found and found.unreadable:
        later = _either(objects, slug, found.at._replace(attempt=found.attempt + 1))
        if later is None:
            break
        found = later
    return found


def _either(objects: Objects, slug: str, at: ShardVersion) -> Commit | None:
    for complete in (True, False):
        with suppress(FileNotFoundError):
            return _parse(objects, paths.commit(slug, at, complete=complete))
    return None


def slugs(objects: Objects) -> list[str]:
    """Slugs of the models that have at least one commit."""
    entries = objects.list(paths.EMBEDDINGS)
    found = {e.path.split("/")[1] for e in entries if paths.is_commit(e.path)}
    return sorted(found)


def newest(objects: Objects, slug: str) -> dict[str, str]:
    """Path of the newest commit of each shard, by shard key; one listing, no file is read.

    A commit never changes, so comparing paths is enough to detect a new one.
    """
    return _newest(objects, paths.embeddings(slug))


def newest_of(objects: Objects, slug: str, shard: str) -> str | None:
    """Path of the newest commit of one shard, or None."""
    return _newest(objects, paths.embeddings(slug, shard)).get(shard)


def _newest(objects: Objects, folder: str) -> dict[str, str]:
    found: dict[str, tuple[tuple[int, int], str]] = {}
    for entry in objects.list(folder):
        if paths.is_commit(entry.path):
            shard = entry.path.split("/")[-3]
            this = paths.age(entry.path), entry.path
            found[shard] = max(found.get(shard, this), this)
    return {shard: path for shard, (_, path) in sorted(found.items())}


def read_path(objects: Objects, path: str) -> Commit:
    """The commit at a path returned by `newest`.

    Raises DamageError if it was edited, or belongs to another shard or version, and
    FileNotFoundError if it is missing. A ledger has an empty path for a commit that was lost.
    """
    if not path:
        raise FileNotFoundError("the commit was lost")
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

    Raises DamageError if its bytes differ from the committed ones.
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

    Raises DamageError if its bytes differ from the committed ones.
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


def _missing(objects: Objects, part: Part) -> DamageError:
    return DamageError(f"{objects.uri(part.path)} is committed but missing.")


def _tampered(objects: Objects, part: Part) -> DamageError:
    return DamageError(f"{objects.uri(part.path)} differs from the file that was committed.")


def _parse(objects: Objects, path: str) -> Commit:
    data = objects.get(path)
    try:
        commit = Commit.model_validate_json(data)
    except ValidationError as error:
        raise DamageError(
            f"{objects.uri(path)} is not a commit that this version can read: "
            f"{error.error_count()} fields differ."
        ) from error
    if commit.seal and commit.seal != _seal_of(data):
        raise DamageError(f"{objects.uri(path)} was edited after it was written.")
    if paths.age(path) != (commit.version, commit.attempt) or not _is_at(commit, path):
        raise DamageError(f"{objects.uri(path)} is the commit of another shard.")
    return commit


def _is_at(commit: Commit, path: str) -> bool:
    return paths.is_of(path, commit.at) and path.split("/")[-3] == commit.shard
