"""Bring an index's table up to the commits: shard by shard, each in one transaction.

A shard is loaded exactly once however often and by however many this runs: under an advisory
lock the ledger's digest decides, and rows and ledger change in the same transaction.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from queue import SimpleQueue

import psycopg

from clip_assets.errors import DatabaseError, StoreError
from clip_assets.index import erasure, growth, tables
from clip_assets.index.copy import copy_shard
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index, Ledger
from clip_assets.index.vector_type import VectorType
from clip_assets.model import ModelSpec, require_same
from clip_assets.postgres.connect import another_connection
from clip_assets.store import commit as commits
from clip_assets.store import paths
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion

LOADERS = 2
"""Shards loaded at once by one process: each takes some 60 MB. More processes may run beside it."""


@dataclass(frozen=True)
class Loaded:
    """What one reconciliation did, by shard key.

    `outgrown` is the table that `index` is to take the place of, if it was begun for that now;
    `replaced` are those of the loaded whose older version the index had.
    """

    index: Index
    outgrown: str | None = None
    loaded: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)


def reconcile(  # noqa: PLR0913 - what is loaded, from where, and as what
    connection: psycopg.Connection,
    objects: Objects,
    collection: str,
    spec: ModelSpec,
    shards: Iterable[ShardVersion],
    *,
    vector_type: VectorType = VectorType.HALFVEC,
) -> Loaded:
    """Load each shard whose newest commit differs from the ledger's; the others are left alone.

    Where so many differ that a graph of all is built sooner than they are inserted into the one
    that is there, all are loaded into a new index beside it (`growth`).
    The index is the model's of this `vector_type`; one of the other type stays as it is.
    `shards` are the catalog's current versions; where the ledger has the commits of all of them,
    the store is not even listed. A shard without any commit is given as missing, and whatever of
    it was loaded before stays searchable. Raises StoreError if nothing is committed at all,
    ModelError if the commits are not all of one model.
    """
    current = {at.shard: paths.commit(spec.slug, at) for at in shards}
    loaded = _all_loaded(connection, collection, spec, vector_type, current)
    newest = current if loaded else commits.newest(objects, spec.slug)
    if not newest:
        raise StoreError(
            f"{collection} has no embeddings by {spec.slug} yet. Materialize `embeddings` first."
        )
    first = commits.read_path(objects, next(iter(newest.values())))
    before = index = tables.ensure(connection, collection, spec, first.identity, vector_type)
    known = tables.ledger(connection, before)
    if known.keys() <= newest.keys():  # else a new index would lack what this one still has
        new = _changed(newest, known).values()
        index = growth.make_room(connection, objects, before, len(known), new)
    there = tables.ledger(connection, index)
    changed = _changed(newest, there)
    _load_all(connection, objects, index, changed)
    return Loaded(
        index,
        None if index.index_id == before.index_id else tables.table_name(before.index_id),
        loaded=list(changed),
        unchanged=[shard for shard in newest if shard not in changed],
        missing=[shard for shard in current if shard not in newest],
        replaced=[shard for shard in changed if shard in there],
    )


def load_shard(
    connection: psycopg.Connection, objects: Objects, index: Index, commit: Commit, path: str
) -> None:
    """Replace the shard's rows by the commit's, unless the ledger already has that digest.

    A loader that listed the commits before a newer one was loaded leaves the newer one alone.
    """
    key = {"index_id": index.index_id, "shard": commit.shard}
    with connection.transaction():
        connection.execute(statement("lock_shard"), key)
        row = connection.execute(statement("loaded_shard"), key).fetchone()
        version, digest, checksum = row or (0, "", 0)
        if version > commit.version:
            return
        if digest != commit.digest:
            connection.execute(statement("delete_shard", table=index.table), key)
            checksum = copy_shard(connection, objects, index, commit)
        connection.execute(
            statement("write_ledger"),
            {
                **key,
                "version": commit.version,
                "digest": commit.digest,
                "commit_path": path,
                "rows": commit.rows,
                "rejected": commit.rejected,
                "checksum": checksum,
                "run_id": commit.run_id,
                "job_id": commit.job_id,
                "device": commit.device,
            },
        )
        erasure.forget(connection, index.collection, {index.index_id: index.vector_type})


def _all_loaded(
    connection: psycopg.Connection,
    collection: str,
    spec: ModelSpec,
    vector_type: VectorType,
    current: dict[str, str],
) -> bool:
    """A commit never changes, so its path in the ledger says that it is the one loaded."""
    try:
        index = tables.find(connection, collection, spec.slug, vector_type)
    except DatabaseError:
        return False
    return not _changed(current, tables.ledger(connection, index))


def _changed(newest: dict[str, str], loaded: Ledger) -> dict[str, str]:
    """Those of the commits' paths, by shard key, that are not the ones loaded."""
    known = {shard: path for shard, (path, _, _) in loaded.items()}
    return {shard: path for shard, path in newest.items() if known.get(shard) != path}


def _load_all(
    connection: psycopg.Connection, objects: Objects, index: Index, changed: dict[str, str]
) -> None:
    """Several shards at once, each loader on a connection of its own."""
    loaders = min(len(changed), LOADERS)
    free: SimpleQueue[psycopg.Connection] = SimpleQueue()

    def load_one(path: str) -> None:
        own = free.get()
        try:
            commit = commits.read_path(objects, path)
            _require_same_model(commit, index)
            load_shard(own, objects, index, commit, path)
        finally:
            free.put(own)

    with ExitStack() as opened:
        for _ in range(loaders):
            own = opened.enter_context(another_connection(connection))
            own.execute(statement("stage_in_memory"))
            free.put(own)
        with ThreadPoolExecutor(max(loaders, 1)) as pool:
            for _ in pool.map(load_one, changed.values()):  # what fails cancels what waits
                pass


def _require_same_model(commit: Commit, index: Index) -> None:
    require_same(
        commit.identity,
        index.identity,
        f"The model of shard {commit.shard} differs from that of the other shards",
        ", and materialize the shards of the other model again",
    )
