"""Delete replaced versions of shards: their rows in the catalog and their embeddings.

A replaced version is kept while an index has rows of it, so that a rollback target can be verified
and repaired, and for some days, for jobs, loads and queries that began before it was replaced. A
shard's newest commit and the catalog's rows for it are never touched, because the next version is
computed from them.

Ages are differences between times by the store's clock, so a machine's clock does not matter.
Commits are deleted first, and readers trust only commits, so a sweep may be killed or run twice at
once.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import psycopg

from clip_assets import catalog
from clip_assets.catalog import Catalog
from clip_assets.errors import DatabaseError, StoreError
from clip_assets.index import owner, tables
from clip_assets.index.erasure import indexes
from clip_assets.store import commit as commits
from clip_assets.store import erased, paths
from clip_assets.store.entry import Entry
from clip_assets.store.objects import Objects

KEEP = timedelta(days=7)
"""How long a replaced version is kept by default."""
_UNFINISHED = timedelta(days=1)
"""The age at which a temporary file's writer is assumed dead; it only has to write one file."""

_Versions = dict[int, list[Entry]]
"""The files of each version of a shard, commits first."""


@dataclass(frozen=True)
class Replaced:
    """One replaced version of a shard, in the catalog or by one model.

    `at` is when it was replaced, in seconds by the store's clock; `loaded` says whether an index
    has rows of it. The commit is the first of its files.
    """

    shard: str
    version: int
    files: tuple[Entry, ...]
    at: float
    loaded: bool = False


@dataclass(frozen=True)
class Swept:
    """What a sweep deleted, and how many versions it kept because an index has rows of them or
    because they were replaced recently. `unfinished` counts files that a killed process left."""

    versions: int
    files: int
    bytes: int
    loaded: int
    recent: int
    unfinished: int

    def __str__(self) -> str:
        return (
            f"{self.versions} replaced versions of shards deleted ({self.files} files, "
            f"{self.bytes / 1e6:.1f} MB); {self.recent} kept because they were replaced too "
            f"recently, {self.loaded} because an index has rows of them; {self.unfinished} "
            "unfinished files deleted"
        )


def sweep(
    connection: psycopg.Connection, objects: Objects, collection: str, keep: timedelta = KEEP
) -> Swept:
    """Delete the files of versions that were replaced longer than `keep` ago.

    Raises DatabaseError if the database has no index of this data, because then it cannot tell
    which versions are in use; StoreError while an erasure is interrupted, which needs the files.
    """
    if other := owner.former(connection, objects, collection):
        raise DatabaseError(
            f"The index of {collection} in this database is made of the data at {other}."
        )
    loaded = loaded_commits(connection, collection)
    if not loaded:
        raise DatabaseError(
            f"Nothing of {collection} is loaded in this database, so it does not show which "
            "versions are in use. Set DATABASE_URL to the database that has the index."
        )
    if erased.open_requests(objects):
        raise StoreError(
            f"An erasure of {collection} was interrupted. Complete it with `clip-assets erase "
            f"{collection}` first."
        )
    now = objects.now()
    found = list(replaced(objects, catalog.require(objects, collection), loaded))
    old = [one for one in found if one.at <= now - keep.total_seconds()]
    gone = [one for one in old if not one.loaded]
    for one in gone:
        for file in one.files:
            objects.delete(file.path)
    left = [e for e in objects.unfinished() if e.modified <= now - _UNFINISHED.total_seconds()]
    for entry in left:
        objects.delete(entry.path)
    files = [file for one in gone for file in one.files]
    return Swept(
        versions=len(gone),
        files=len(files),
        bytes=sum(file.size for file in files),
        loaded=len(old) - len(gone),
        recent=len(found) - len(old),
        unfinished=len(left),
    )


def loaded_commits(connection: psycopg.Connection, collection: str) -> set[str]:
    """Paths of the commits that any index of the collection was loaded from."""
    return {
        row.commit_path
        for index_id in indexes(connection, collection)
        for row in tables.ledger_of(connection, index_id).values()
        if row.commit_path
    }


def replaced(objects: Objects, head: Catalog, loaded: Collection[str]) -> Iterator[Replaced]:
    """Every replaced version, by each model and in the catalog.

    None for a shard whose newest commit is damaged, because an older one may help.
    """
    current = {shard.shard: shard.version for shard in head.shards}
    needed = {shard: {version} for shard, version in current.items()}
    unsound = set()
    folders = {path.rpartition("/")[0] for path in loaded}
    for slug in commits.slugs(objects):
        for shard, versions in _by_shard(objects, paths.embeddings(slug)).items():
            written = {
                version: [entry for entry in files if _is_commit(entry)]
                for version, files in versions.items()
                if _is_commit(files[0])
            }
            if shard not in current or not written:
                continue
            newest = max(written)
            needed[shard].add(newest)
            if not _is_sound(objects, versions[newest]):
                unsound.add(shard)
                continue
            for one in _before(shard, versions, min(newest, current[shard]), written):
                folder = one.files[0].path.rpartition("/")[0]
                yield replace(one, loaded=folder in folders)
    for shard, versions in _by_shard(objects, paths.CATALOG_FOLDER).items():
        if shard in current and shard not in unsound:
            for one in _before(shard, versions, current[shard], versions):
                if one.version not in needed[shard]:
                    yield one


def _before(shard: str, versions: _Versions, first: int, written: _Versions) -> Iterator[Replaced]:
    """The versions before `first` in these files; each was replaced when the next was written."""
    for version, files in versions.items():
        later = [e.modified for other in written if other > version for e in written[other]]
        if version < first and later:
            yield Replaced(shard, version, tuple(files), min(later))


def _by_shard(objects: Objects, folder: str) -> dict[str, _Versions]:
    found: dict[str, _Versions] = defaultdict(lambda: defaultdict(list))
    for entry in objects.list(folder):
        shard, *below = entry.path.removeprefix(f"{folder}/").split("/")
        version = paths.version(below[0]) if below else None
        if version is not None:
            found[shard][version].append(entry)
    for versions in found.values():
        for files in versions.values():
            files.sort(key=lambda entry: (not _is_commit(entry), entry.path))
    return found


def _is_commit(entry: Entry) -> bool:
    return paths.is_commit(entry.path)


def _is_sound(objects: Objects, files: Sequence[Entry]) -> bool:
    """Whether the newest commit can be read and its files have the sizes in it."""
    sizes = {entry.path: entry.size for entry in files}
    newest = max(filter(paths.is_commit, sizes), key=paths.age)
    try:
        commit = commits.read_path(objects, newest)
    except (StoreError, FileNotFoundError):
        return False
    parts = (*commit.parts, commit.rejects, commit.queries)
    return all(sizes.get(part.path) == part.bytes for part in parts)
