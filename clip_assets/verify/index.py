"""Compares a collection's indexes with the commits they were loaded from, and the live release."""

from collections.abc import Iterator

import psycopg
from psycopg.errors import InsufficientPrivilege

from clip_assets.errors import StoreError
from clip_assets.index import integrity, owner, tables
from clip_assets.index.erasure import indexes, remembered, revived
from clip_assets.index.tables import Index, LoadedShard
from clip_assets.release.release import missing_relations
from clip_assets.search import search
from clip_assets.store import commit as commits
from clip_assets.store import paths
from clip_assets.store.erased import erased, requests
from clip_assets.store.objects import Objects
from clip_assets.verify.finding import Fault, Finding, Remedy, what_of


def verify_indexes(
    connection: psycopg.Connection, objects: Objects, collection: str
) -> Iterator[Finding]:
    """Verify every index that has rows, one after the other, then the live release.

    An index of other data is reported but not compared, and so is one with erasures that the files
    lack.
    """
    if other := owner.former(connection, objects, collection):
        what = f"The index of {collection} is made of the data that was at {other}."
        yield Finding(faults=(Fault("database", what, Remedy.HAND_OVER),))
        return
    known = {request.erasure for request in requests(objects)}
    try:
        with connection.transaction():
            lost = remembered(connection, collection).keys() - known
    except InsufficientPrivilege:
        who = connection.info.user
        message = (
            f"Erasures are not compared: {who} may not read them. Verify as the schema's owner."
        )
        yield Finding(behind=(message,))
        lost = set()
    if lost:
        what = f"{len(lost)} erasures are known to the database but not to the files."
        yield Finding(faults=(Fault("erasures", what, Remedy.ERASE),))
        return
    for index_id in sorted(indexes(connection, collection)):
        index = tables.by_id(connection, index_id)
        if loaded := tables.ledger(connection, index):
            yield _index(connection, objects, index, loaded)
    yield from (_release(connection, one) for one in search.all_live(connection, collection))


def _index(
    connection: psycopg.Connection, objects: Objects, index: Index, loaded: tables.Ledger
) -> Finding:
    where = f"clip_assets.{tables.table_name(index.index_id)}"
    if not any(row.commit_path for row in loaded.values()):
        message = (
            f"{where} is made of data that was lost; the next update of the index replaces it."
        )
        return Finding(behind=(message,))

    def again(shard: str, what: str) -> Fault:
        text = f"Shard {shard} {what}."
        return Fault(where, text, Remedy.LOAD_AGAIN, shard, index.index_id)

    if not tables.has_table(connection, index):
        return Finding(faults=tuple(again(shard, "is lost with the table") for shard in loaded))
    newest = commits.newest(objects, index.spec.slug)
    replaced = [
        row.shard
        for row in loaded.values()
        if row.commit_path and _is_swept(objects, row.commit_path, newest.get(row.shard))
    ]
    different = {
        row.shard: what
        for row in loaded.values()
        if row.shard not in replaced and (what := _differs(objects, row))
    }
    faults = [again(shard, what) for shard, what in different.items()]
    faults += [
        again(shard, "differs in its rows from those that were loaded")
        for shard in integrity.damaged_shards(connection, index)
        if shard not in different
    ]
    if index.judgement is not None and not tables.has_hnsw(connection, index):
        faults.append(Fault(where, "Its HNSW is missing.", Remedy.BACKFILL))
    if back := revived(connection, index, *erased(objects)):
        faults.append(Fault(where, f"It has {back} erased images.", Remedy.BACKFILL))
    figures = {"indexes": 1, "indexed rows": tables.row_count(loaded)}
    message = (
        f"{where}: {len(replaced)} shards have newer versions, and the files of the loaded ones "
        "are gone."
    )
    return Finding(figures, tuple(faults), (message,) if replaced else ())


def _is_swept(objects: Objects, path: str, newest: str | None) -> bool:
    """Whether a loaded commit was deleted when or after a newer one replaced it."""
    if newest is None or paths.age(newest) <= paths.age(path):
        return False
    return not objects.exists(path)


def _differs(objects: Objects, row: LoadedShard) -> str | None:
    """What is wrong with a shard's row in the ledger, by the commit that it names."""
    try:
        commit = commits.read_path(objects, row.commit_path)
    except FileNotFoundError:
        return f"was loaded from {row.commit_path}, which is gone"
    except StoreError as error:
        return f"was loaded from a commit that cannot be read ({what_of(error)})"
    if (commit.shard, commit.digest, commit.rows) != (row.shard, row.digest, row.rows):
        return f"is recorded differently than in {row.commit_path}"
    return None


def _release(connection: psycopg.Connection, live: search.Release) -> Finding:
    where = f"release {live.id}"
    lacking = missing_relations(connection, live.collection)
    faults = [
        Fault(where, f"{live.collection}.{name} is missing.", Remedy.BACKFILL) for name in lacking
    ]
    judged = tables.content(connection, live.index_id) == live.content
    behind = () if judged else (f"{where}: shards were loaded since its recall was measured.",)
    return Finding({}, tuple(faults), behind)
