"""Bring an index's table up to date with the commits: shard by shard, each in one transaction.

Each commit is loaded exactly once, even if several processes run this repeatedly: under an advisory
lock, the ledger's digest says whether to load, and rows and ledger change in one transaction.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from queue import SimpleQueue

import psycopg
from psycopg.rows import class_row

from clip_assets.column import NO_COLUMNS, Columns
from clip_assets.errors import DatabaseError, StoreError
from clip_assets.index import erasure, growth, owner, tables
from clip_assets.index.copy import copy_shard
from clip_assets.index.spec import IndexSpec
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index, Ledger
from clip_assets.model import require_same
from clip_assets.postgres.connect import another_connection
from clip_assets.postgres.pooler import behind_pooler
from clip_assets.store import commit as commits
from clip_assets.store import paths
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion

LOADERS = 2
"""Shards that one process loads in parallel, about 60 MB each. Several processes may run."""


@dataclass(frozen=True)
class Reconciled:
    """What one reconciliation did, by shard key.

    `outgrown` is the table that `index` will replace, if this reconciliation created `index` for
    that; `replaced` are the loaded shards of which the index had an older version.
    """

    index: Index
    outgrown: str | None = None
    loaded: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Before:
    """The version of a shard that is already loaded."""

    version: int
    digest: str
    checksum: int


def reconcile(
    connection: psycopg.Connection,
    objects: Objects,
    spec: IndexSpec,
    shards: Iterable[ShardVersion],
    columns: Columns = NO_COLUMNS,
) -> Reconciled:
    """Load each shard whose newest commit differs from the ledger's; skip the others.

    If so many differ that building a new graph is faster than inserting into the existing one, all
    shards are loaded into a new index (`growth`).
    An index of the other `vector_type` is not changed. `columns` are the declared ones.
    `shards` are the catalog's current versions; if the ledger has the commits of all of them, the
    store is not listed. A shard without a commit is returned as missing, and its rows that were
    loaded before stay searchable. Raises StoreError if nothing is committed, ModelError if the
    commits are of different models, and DatabaseError like `claim`.
    """
    owner.claim(connection, objects, spec.collection)
    slug = spec.model.slug
    current = {at.shard: paths.commit(slug, at) for at in shards}
    newest = current if _all_loaded(connection, spec, current) else commits.newest(objects, slug)
    if not newest:
        raise StoreError(
            f"{spec.collection} has no embeddings by {slug} yet. Materialize `embeddings` first."
        )
    first = commits.read_path(objects, next(iter(newest.values())))
    before = index = tables.ensure(connection, spec, first.identity)
    known = tables.ledger(connection, before)
    if known.keys() <= newest.keys():  # otherwise a new index would lack shards that this one has
        new = _changed(newest, known).values()
        index = growth.make_room(connection, objects, before, len(known), new)
    index = tables.declare(connection, index, columns)
    there = tables.ledger(connection, index)
    changed = _changed(newest, there)
    _remove_lost(connection, objects, index, newest)
    load_all(connection, objects, index, changed)
    return Reconciled(
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
    """Replace the shard's rows with the commit's, unless the ledger already has that digest.

    Does nothing if another process has already loaded a newer version.
    """
    key = {"index_id": index.index_id, "shard": commit.shard}
    with connection.transaction():
        connection.execute(statement("lock_shard"), key)
        rows = connection.cursor(row_factory=class_row(_Before))
        before = rows.execute(statement("loaded_shard"), key).fetchone() or _Before(0, "", 0)
        if before.version > commit.version:
            return
        checksum = before.checksum
        if before.digest != commit.digest:
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
        erasure.forget(connection, index.collection, {index.index_id: index.vectors})


def _remove_lost(
    connection: psycopg.Connection, objects: Objects, index: Index, newest: dict[str, str]
) -> None:
    """Remove rows that were loaded from lost data and that the new data lacks.

    Called before anything is loaded, because an image may now be in another shard.
    """
    lost = [row for row in tables.ledger(connection, index).values() if not row.commit_path]
    absent = [row.shard for row in lost if row.shard not in newest]
    other = [
        row.shard
        for row in lost
        if row.shard in newest
        and commits.read_path(objects, newest[row.shard]).digest != row.digest
    ]
    if lost:
        at = {"index_id": index.index_id}
        with connection.transaction():
            gone = {"shards": absent + other}
            connection.execute(statement("delete_shards", table=index.table), gone)
            connection.execute(statement("forget_shards"), at | gone)


def _all_loaded(connection: psycopg.Connection, spec: IndexSpec, current: dict[str, str]) -> bool:
    """Compares paths only: a commit is immutable, so its path identifies what is loaded."""
    try:
        index = tables.find(connection, spec.collection, spec.model.slug, spec.vector_type)
    except DatabaseError:
        return False
    return not _changed(current, tables.ledger(connection, index))


def _changed(newest: dict[str, str], loaded: Ledger) -> dict[str, str]:
    """The commit paths, by shard key, that are not loaded."""
    return {
        shard: path
        for shard, path in newest.items()
        if shard not in loaded or loaded[shard].commit_path != path
    }


def load_all(
    connection: psycopg.Connection, objects: Objects, index: Index, changed: dict[str, str]
) -> None:
    """Load several shards in parallel, each loader on its own connection.

    `changed` gives commit paths by shard key.
    """
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
            if not behind_pooler(own):  # other clients would get the setting
                own.execute(statement("stage_in_memory"))
            free.put(own)
        with ThreadPoolExecutor(max(loaders, 1)) as pool:
            for _ in pool.map(load_one, changed.values()):  # a failure cancels those still waiting
                pass


def _require_same_model(commit: Commit, index: Index) -> None:
    require_same(
        commit.identity,
        index.identity,
        f"The model of shard {commit.shard} differs from that of the other shards",
        ", or embed all shards again: "
        f"`clip-assets backfill {index.collection} --shards all --again`",
    )
