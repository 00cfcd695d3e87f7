"""Make a snapshot of the live release: copy it to a scratch Postgres, index and judge it there.

Rows are copied, not the server's files: the release may be in any Postgres, beside other
collections and dead rows, which replicas must not get. The HNSW is built here, once, so that
replicas can start as soon as they have fetched it. It is not the same graph as the live one, so it
is judged again, with the queries in the parquet, before the snapshot is packed.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from clip_assets.errors import StoreError
from clip_assets.index import tables
from clip_assets.index.vector_type import SqlVector
from clip_assets.judge.judgement import Judgement
from clip_assets.judge.update import build_and_judge
from clip_assets.postgres import pgvector
from clip_assets.postgres.connect import connect
from clip_assets.release import release
from clip_assets.search import search
from clip_assets.search.search import Release
from clip_assets.settings import Settings
from clip_assets.snapshot import manifest as manifests
from clip_assets.snapshot.archive import Step, pack
from clip_assets.snapshot.engine import engine
from clip_assets.snapshot.manifest import Manifest
from clip_assets.snapshot.scratch import Scratch, scratch
from clip_assets.snapshot.statements import statement
from clip_assets.store.objects import Objects


def make(
    source: psycopg.Connection, settings: Settings, collection: str, to: Objects, step: Step
) -> Manifest:
    """Snapshot the collection's live release in `source` into `to`.

    Raises ReleaseError if nothing is live or the copy fails its judgement, StoreError if `to`
    has snapshots of another collection.
    """
    _require_same_collection(to, collection)
    search.live(source, collection)  # raises before a Postgres is started if nothing is live
    objects = Objects(settings.collection_uri(collection))
    with scratch(settings.workplace) as cluster:
        with connect(cluster.dsn) as target:
            live = _copy(source, target, collection, step)
            _publish(target, objects, live, step)
        return seal(cluster, collection, to, step)


def seal(cluster: Scratch, collection: str, to: Objects, step: Step) -> Manifest:
    """Stop the scratch Postgres, in which the collection is live, and pack it into `to`.

    The pointer to the newest snapshot is updated last.
    """
    _require_same_collection(to, collection)
    with connect(cluster.dsn) as connection:
        live = search.live(connection, collection)
    step("stopping", 0, 0)
    cluster.stop()
    made_at = datetime.now(UTC)
    name = f"release-{live.id:05d}-{made_at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    pieces, size = pack(cluster.folder, to, name, step)
    made = Manifest(
        snapshot=name,
        collection=collection,
        release=live.id,
        content=live.content,
        identity=live.identity,
        rows=live.rows,
        made_at=made_at,
        engine=engine(),
        bytes=size,
        pieces=tuple(pieces),
    )
    manifests.write(to, made)
    return made


def next_release(to: Objects) -> int:
    """The release number for an index that is built only for a snapshot."""
    before = manifests.latest(to)
    return before.release + 1 if before else 1


def _require_same_collection(to: Objects, collection: str) -> None:
    before = manifests.latest(to)
    if before and before.collection != collection:
        raise StoreError(
            f"{to.root} has snapshots of {before.collection}. Use another folder for {collection}."
        )


def _copy(
    source: psycopg.Connection, target: psycopg.Connection, collection: str, step: Step
) -> Release:
    """Copy the live release's rows, ledger, thumbnails and index from one database snapshot."""
    with source.transaction(), target.transaction():
        source.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        source.execute("SET LOCAL statement_timeout = 0")  # a reader's limit is meant for searches
        live = search.live(source, collection)
        table = sql.Identifier(live.table)
        index_id = sql.Literal(live.index_id)
        vectors = SqlVector(live.vector_type, pgvector.schema(target))
        tables.create_table(target, live.index_id, live.identity.dim, vectors, live.columns)
        target.execute(statement("number_releases_from", first=sql.Literal(live.id)))
        copy = _Copy(source, target, live.rows, step)
        copy.rows("index", "copy_out_index", index_id=index_id)
        copy.rows("ledger", "copy_out_ledger", index_id=index_id)
        copy.rows(live.table, "copy_out_images", table=table)
        copy.rows("thumbnail", "copy_out_thumbnails", table=table)
    return live


@dataclass(frozen=True)
class _Copy:
    """Copies rows from one database to another; `most` is the largest number of rows in a table."""

    source: psycopg.Connection
    target: psycopg.Connection
    most: int
    step: Step

    def rows(self, into: str, out: str, **names: sql.Composable) -> None:
        """Fill the table `into` from the statement `out`."""
        found = self.target.cursor(row_factory=scalar_row)
        found.execute(statement("columns"), {"table": into})
        columns = sql.SQL(", ").join(sql.Identifier(name) for name in found)
        where = sql.Identifier(into)
        with (
            self.source.cursor().copy(statement(out, columns=columns, **names)) as reader,
            self.target.cursor().copy(statement("copy_in", into=where, columns=columns)) as writer,
        ):
            for done, row in enumerate(reader):
                writer.write(row)
                if done % 10_000 == 0:
                    self.step(f"copying {into}", min(done, self.most), self.most)


def _publish(target: psycopg.Connection, objects: Objects, live: Release, step: Step) -> None:
    """Build, judge and publish the copy, with the run and date of the original release."""
    index = tables.by_id(target, live.index_id)
    step("building and judging", 0, 0)
    wanted = Judgement.model_validate(live.judgement).wanted
    build_and_judge(target, objects, index, wanted)
    copy, _ = release.publish(target, index, live.run_id)
    when = {"published_at": live.published_at, "release_id": copy.id}
    target.execute(statement("date_release"), when)
