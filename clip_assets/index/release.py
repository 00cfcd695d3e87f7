"""The release: which index answers. It moves in one transaction, and only past its judgement."""

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from clip_assets.errors import ReleaseError
from clip_assets.index import judge, search
from clip_assets.index.judgement import Judgement
from clip_assets.index.search import Release
from clip_assets.index.statements import publish_script, statement
from clip_assets.index.tables import Index, table_name


def publish(connection: psycopg.Connection, index: Index, run_id: str) -> tuple[Release, bool]:
    """Make the index the live release; returns it, and whether anything moved.

    Nothing moves where the live release already has this content. Raises ReleaseError if the
    index was not judged as it is now, or was found wanting.
    """
    judgement = _passed(connection, index)
    now = _live_or_none(connection, index.collection)
    if now and (now.index_id, now.content) == (index.index_id, judgement.content):
        return now, False
    with connection.transaction():
        row = connection.execute(
            statement("add_release"),
            {
                "collection": index.collection,
                "index_id": index.index_id,
                "content": judgement.content,
                "ef_search": judgement.ef_search,
                "rows": judgement.rows,
                "judgement": Jsonb(judgement.model_dump()),
                "run_id": run_id,
            },
        ).fetchone()
        assert row is not None, "INSERT … RETURNING gives a row"
        _point_at(connection, index.collection, row[0])
    return search.live(connection, index.collection), True


def roll_back(connection: psycopg.Connection, collection: str) -> Release:
    """Make the release before the live one live again.

    Shards are replaced in place, so a release of the same index has the same rows by now: the
    one meant is the last of another index. Raises ReleaseError if there is none.
    """
    with connection.transaction():
        row = connection.execute(
            statement("previous_release"), {"collection": collection}
        ).fetchone()
        if row is None:
            raise ReleaseError(
                f"{collection} has no release of another model before the live one to go back to."
            )
        _point_at(connection, collection, row[0])
    return search.live(connection, collection)


def _passed(connection: psycopg.Connection, index: Index) -> Judgement:
    if index.judgement is None:
        raise ReleaseError(
            f"The index of {index.identity.short} was never judged. Materialize `search_index`."
        )
    judgement = Judgement.model_validate(index.judgement)
    if judgement.content != judge.content(connection, index):
        raise ReleaseError(
            f"The index of {index.identity.short} changed after it was judged. Materialize "
            "`search_index` again."
        )
    if judgement.faults:
        raise ReleaseError(f"Not published: {'; '.join(judgement.faults)}.")
    return judgement


def _live_or_none(connection: psycopg.Connection, collection: str) -> Release | None:
    try:
        return search.live(connection, collection)
    except ReleaseError:
        return None


def _point_at(connection: psycopg.Connection, collection: str, release_id: int) -> None:
    key = {"collection": collection, "release_id": release_id}
    connection.execute(statement("point_at"), key)
    row = connection.execute(statement("release_index"), key).fetchone()
    assert row is not None, "a release names its index"
    index_id, ef_search, model = row
    connection.execute(
        publish_script(
            collection=sql.Identifier(collection),
            table=sql.Identifier(table_name(index_id)),
            index_id=sql.Literal(index_id),
            release_id=sql.Literal(release_id),
            ef_search=sql.Literal(ef_search),
            model=sql.Literal(model),
        )
    )
