"""Restore rows that an index's table lost, or that somebody changed, from the parquet."""

from collections.abc import Iterable

import psycopg
from psycopg import sql
from psycopg.errors import DeadlockDetected, UniqueViolation
from psycopg.rows import scalar_row

from clip_assets.errors import ReleaseError
from clip_assets.index import build, integrity, load, tables
from clip_assets.index.locks import patiently
from clip_assets.index.progress import Report
from clip_assets.index.spec import IndexSpec
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index
from clip_assets.store.objects import Objects

_MOST = 1 / 2
"""If more than this share of the rows is reloaded, building a new graph is faster."""

_PATIENCE_SECONDS = 5.0


def repair(
    connection: psycopg.Connection, objects: Objects, spec: IndexSpec, report: Report
) -> tuple[str, ...]:
    """Load the damaged shards of this model's indexes again; returns their keys.

    The newest index and the live one are compared by checksum, those kept for rollback by number of
    rows. Each shard is loaded from the commit in the ledger, so the content stays the same, and
    readers see the damaged rows until they are replaced. Rows that belong to no commit are deleted.
    A shard whose commit is gone stays as it is, and the judgement names it. The next build builds
    the graph of the newest index.
    """
    key = {"collection": spec.collection, "slug": spec.model.slug,
           "vector_type": spec.vector_type.value}  # fmt: skip
    cursor = connection.cursor(row_factory=scalar_row)
    numbers = cursor.execute(statement("indexes_of_model"), key).fetchall()
    repaired: set[str] = set()
    for number in numbers:
        index, newest = tables.by_id(connection, number), number == numbers[0]
        if not tables.ledger(connection, index):
            continue
        repaired.update(_repaired(connection, objects, index, report, thorough=newest))
        if not newest:
            rows = tables.row_count(tables.ledger(connection, index))
            build.build(connection, index, rows, report)
    return tuple(sorted(repaired))


def _repaired(
    connection: psycopg.Connection,
    objects: Objects,
    index: Index,
    report: Report,
    *,
    thorough: bool,
) -> Iterable[str]:
    name = tables.table_name(index.index_id)
    if not tables.has_table(connection, index):
        report(f"clip_assets.{name} is missing: creating it")
        tables.create_table(
            connection, index.index_id, index.identity.dim, index.vectors, index.columns
        )
    thorough = thorough or tables.is_live(connection, index)
    compare = integrity.damaged_shards if thorough else integrity.miscounted_shards
    damaged = compare(connection, index)
    if not damaged:
        return ()
    first = f"{', '.join(damaged[:5])}{', …' if len(damaged) > 5 else ''}"
    report(f"{name} differs from what was loaded in {len(damaged)} shards: {first}")
    loaded = tables.ledger(connection, index)
    _execute(connection, "delete_strangers", index, damaged)
    commits = {shard: loaded[shard].commit_path for shard in damaged if shard in loaded}
    again = {shard: path for shard, path in commits.items() if objects.exists(path)}
    if sum(loaded[shard].rows for shard in again) > _MOST * tables.row_count(loaded):
        _drop_graph(connection, index)
    _execute(connection, "mark_damaged", index, again)
    try:
        load.load_all(connection, objects, index, again)
    except (UniqueViolation, DeadlockDetected):  # one may have the id of another shard's image
        _execute(connection, "delete_shards", index, again)
        load.load_all(connection, objects, index, again)
    return [shard for shard in damaged if shard in again or shard not in loaded]


def _execute(
    connection: psycopg.Connection, name: str, index: Index, shards: Iterable[str]
) -> None:
    values = {"index_id": index.index_id, "shards": [*shards]}
    connection.execute(statement(name, table=index.table), values)


def _drop_graph(connection: psycopg.Connection, index: Index) -> None:
    """Keep the graph if another session holds a lock on it; rows are then inserted into it."""
    drop = statement("drop_hnsw", hnsw=sql.Identifier(index.hnsw))
    try:
        patiently(connection, index.collection, lambda: connection.execute(drop), _PATIENCE_SECONDS)
    except ReleaseError:
        return
