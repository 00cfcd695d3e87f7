"""Publish and roll back: one transaction makes an index live, if its judgement allows it."""

from dataclasses import dataclass
from importlib.resources import files

import psycopg
from psycopg import sql
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from clip_assets.errors import ReleaseError
from clip_assets.index import integrity, tables
from clip_assets.index.columns import as_object
from clip_assets.index.hnsw import deepened, function_settings
from clip_assets.index.locks import patiently
from clip_assets.index.tables import Index
from clip_assets.judge.comparison import Comparison
from clip_assets.judge.judgement import Judgement
from clip_assets.postgres import pgvector, roles
from clip_assets.release import functions
from clip_assets.release.statements import statement
from clip_assets.search import search
from clip_assets.search.nearest import Budget
from clip_assets.search.search import Release

PATIENCE_SECONDS = 60.0

VIEWS = ("images", "embeddings", "shards", "releases")
FUNCTIONS = ("search", "condition", "search_where", "similar")
"""What `publish.sql` creates in the collection's schema."""


def publish(connection: psycopg.Connection, index: Index, run_id: str) -> tuple[Release, bool]:
    """Make the index the live release; returns it, and whether it changed.

    If the live release already has this content, only missing views and functions are created
    again, which a dropped table takes with it. Raises ReleaseError if the index's current content
    was not judged or did not pass, or if queries or loads blocked the change for longer than
    `PATIENCE_SECONDS`.
    """
    return patiently(
        connection, index.collection, lambda: _publish(connection, index, run_id), PATIENCE_SECONDS
    )


def roll_back(connection: psycopg.Connection, collection: str) -> Release:
    """Make the previously live release live again.

    Shards are replaced in place, so an earlier release of the same index now has the same rows; the
    rollback target is therefore a release of another index. The index that a rollback leaves is
    taken back: no later rollback returns to it until it is published again. If the target's index
    has changed since it was live, its newest judgement must pass, and a new release of it is made.
    Raises ReleaseError if there is no rollback target, and the errors of `publish`.
    """
    return patiently(
        connection, collection, lambda: _roll_back(connection, collection), PATIENCE_SECONDS
    )


def previous(connection: psycopg.Connection, collection: str) -> int | None:
    """Number of the release that a rollback would make live."""
    cursor = connection.cursor(row_factory=scalar_row)
    key = {"collection": collection}
    before: int | None = cursor.execute(statement("previous_release"), key).fetchone()
    return before


def missing_relations(connection: psycopg.Connection, collection: str) -> list[str]:
    """The views and functions of a released collection that do not exist."""
    asked = {"collection": collection, "views": [*VIEWS], "functions": [*FUNCTIONS]}
    names = connection.cursor(row_factory=scalar_row)
    return names.execute(statement("missing_relations"), asked).fetchall()


def restore_relations(connection: psycopg.Connection, collection: str) -> None:
    """Create the views and functions of the live release again if one is missing.

    Raises ReleaseError if nothing is live, or if another session held a lock for too long.
    """
    if missing_relations(connection, collection):
        patiently(
            connection,
            collection,
            lambda: _write_relations(connection, search.live(connection, collection)),
            PATIENCE_SECONDS,
        )


@dataclass(frozen=True)
class ReleasedIndex:
    """A release's index, its content when published, and the release that was live before."""

    index_id: int
    content: str
    replaced: int | None


def published(connection: psycopg.Connection, release_id: int) -> ReleasedIndex:
    """The release with this number, as it was published."""
    rows = connection.cursor(row_factory=class_row(ReleasedIndex))
    found = rows.execute(statement("published"), {"release_id": release_id}).fetchone()
    assert found is not None, "a release names its index"
    return found


def _roll_back(connection: psycopg.Connection, collection: str) -> Release:
    before = previous(connection, collection)
    if before is None:
        raise ReleaseError(f"{collection} has no earlier release of another index to roll back to.")
    connection.execute(statement("lock_ledger"))
    connection.execute(statement("take_back"), {"collection": collection})
    released = published(connection, before)
    _require_whole(connection, tables.by_id(connection, released.index_id))
    if tables.content(connection, released.index_id) == released.content:
        return _point_at(connection, collection, before)
    index = tables.by_id(connection, released.index_id)
    try:
        live, _ = _publish(connection, index, "rollback", instead_of=released)
    except ReleaseError as error:
        raise ReleaseError(
            f"The index of {index.identity.short} has changed since it was live. {error} Name that "
            "model in the collection's YAML first."
        ) from error
    return live


def _require_whole(connection: psycopg.Connection, index: Index) -> None:
    damage = integrity.visible_damage(connection, index)
    if damage:
        raise ReleaseError(
            f"The index of {index.identity.short} is damaged: {damage}. Run `clip-assets backfill "
            f"{index.collection} --model {index.spec.slug}` first, which restores it."
        )


def _publish(
    connection: psycopg.Connection,
    index: Index,
    run_id: str,
    instead_of: ReleasedIndex | None = None,
) -> tuple[Release, bool]:
    """`instead_of` is the rollback target that a new release of its index replaces."""
    connection.execute(statement("lock_ledger"))
    judgement = _passed(connection, index)
    now = _live_or_none(connection, index.collection)
    if now and (now.index_id, now.content) == (index.index_id, judgement.content):
        if missing_relations(connection, index.collection):
            _write_relations(connection, now)
        return now, False
    comparison = Comparison.of(index, judgement, now)
    replaced = instead_of.replaced if instead_of else now and now.id
    numbers = connection.cursor(row_factory=scalar_row)
    release_id = numbers.execute(
        statement("add_release"),
        {
            "collection": index.collection,
            "index_id": index.index_id,
            "content": judgement.content,
            "ef_search": judgement.ef_search,
            "rows": judgement.rows,
            "judgement": Jsonb(judgement.model_dump()),
            "run_id": run_id,
            "replaced": replaced,
        },
    ).fetchone()
    assert release_id is not None, "INSERT … RETURNING gives a row"
    written = {"release_id": release_id, "comparison": Jsonb(comparison.model_dump())}
    connection.execute(statement("write_comparison"), written)
    return _point_at(connection, index.collection, release_id), True


def _passed(connection: psycopg.Connection, index: Index) -> Judgement:
    cursor = connection.cursor(row_factory=scalar_row)
    stored = cursor.execute(statement("judgement"), {"index_id": index.index_id}).fetchone()
    if stored is None:
        raise ReleaseError(
            f"The index of {index.identity.short} was never judged. Materialize `search_index`."
        )
    judgement = Judgement.model_validate(stored)
    if judgement.content != tables.content(connection, index.index_id):
        raise ReleaseError(
            f"The index of {index.identity.short} changed after it was judged. Materialize "
            "`search_index` again."
        )
    if not tables.has_hnsw(connection, index):
        raise ReleaseError(
            f"The index of {index.identity.short} has no HNSW: an unfinished load dropped it. "
            "Materialize `search_index` again."
        )
    if judgement.faults:
        raise ReleaseError(f"Not published: {'; '.join(judgement.faults)}.")
    return judgement


def _live_or_none(connection: psycopg.Connection, collection: str) -> Release | None:
    try:
        return search.live(connection, collection)
    except ReleaseError:
        return None


def _point_at(connection: psycopg.Connection, collection: str, release_id: int) -> Release:
    key = {"collection": collection, "release_id": release_id}
    connection.execute(statement("point_at"), key)
    live = search.live(connection, collection)
    _write_relations(connection, live)
    return live


def _write_relations(connection: psycopg.Connection, live: Release) -> None:
    collection = live.collection
    exists = connection.cursor(row_factory=scalar_row)
    if not exists.execute(statement("schema_exists"), {"collection": collection}).fetchone():
        # IF NOT EXISTS needs CREATE on the database even if an administrator made the schema
        connection.execute(statement("create_schema", collection=sql.Identifier(collection)))
    pgvector.load_library(connection)
    names: dict[str, sql.Composable] = {
        "collection": sql.Identifier(collection),
        "table": sql.Identifier(live.table),
        "halfvec": live.vectors.halfvec,
        "vector_type": live.vectors.name,
        "distance": live.vectors.distance,
        "ef_search": sql.Literal(live.ef_search),
        "search_settings": function_settings(live.ef_search),
        "exact_rows": sql.Literal(int(Budget().exact_rows(live.rows))),
        "overfetch": sql.Literal(Budget().overfetch),
        "spare": sql.Literal(Budget().spare),
    }
    connection.execute(
        sql.SQL(files("clip_assets.release").joinpath("publish.sql").read_text()).format(
            **names,
            collection_name=sql.Literal(collection),
            index_id=sql.Literal(live.index_id),
            release_id=sql.Literal(live.id),
            model=sql.Literal(live.identity.name),
            columns=as_object(live.columns),
            deepened=deepened(names["ef_search"], sql.SQL("k + 1 + {spare}").format(**names)),
            search=functions.search(names),
            search_columns=functions.search_columns(names, live.columns),
            search_where=functions.search_where(names, live.columns),
        )
    )
    roles.grant_collection(connection, collection)
