"""Bring an index's table up to the commits: shard by shard, each in one transaction.

A shard is loaded exactly once however often and by however many this runs: under an advisory
lock the ledger's digest decides, and rows and ledger change in the same transaction.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import psycopg

from clip_assets.errors import ModelError, StoreError
from clip_assets.index import binary, tables
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index
from clip_assets.model import ModelSpec
from clip_assets.store import commit as commits
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects

_ROW_COLUMNS = ["image_id", "uri", "caption", "sha256", "width", "height", "embedding"]


@dataclass(frozen=True)
class Loaded:
    """What one reconciliation did, by shard key."""

    index: Index
    loaded: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def reconcile(
    connection: psycopg.Connection,
    objects: Objects,
    collection: str,
    spec: ModelSpec,
    shards: Iterable[str],
) -> Loaded:
    """Load each shard whose newest commit differs from the ledger's; the others are left alone.

    A shard of the catalog without a commit is listed as missing, and whatever of it was loaded
    before stays searchable. Raises StoreError if nothing is committed at all, ModelError if the
    commits are not all of one model.
    """
    newest = commits.newest(objects, spec.slug)
    if not newest:
        raise StoreError(
            f"{collection} has no embeddings by {spec.slug} yet. Materialize `embeddings` first."
        )
    first = commits.read_path(objects, next(iter(newest.values())))
    index = tables.ensure(connection, collection, spec, first.identity)
    done = Loaded(index, missing=[shard for shard in shards if shard not in newest])
    known = tables.ledger(connection, index)
    for shard, path in newest.items():
        if shard in known and known[shard][0] == path:
            done.unchanged.append(shard)
            continue
        commit = commits.read_path(objects, path)
        _require_same_model(commit, first)
        load_shard(connection, objects, index, commit, path)
        done.loaded.append(shard)
    return done


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
            checksum = _copy(connection, objects, index, commit)
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


def _copy(connection: psycopg.Connection, objects: Objects, index: Index, commit: Commit) -> int:
    """Copy all parts in; returns the checksum of their rows."""
    connection.execute(statement("stage_thumbnails"))
    first_row = checksum = 0
    with connection.cursor() as cursor:
        for part in commit.parts:
            table = commits.read_part(objects, part)
            rows = table.select(_ROW_COLUMNS)
            _copy_in(
                cursor,
                "copy_rows",
                binary.image_rows(commit.shard, first_row, rows),
                table=index.table,
            )
            _copy_in(cursor, "copy_thumbnails", binary.thumbnail_rows(table))
            first_row += len(table)
            checksum ^= binary.checksum(rows)
        cursor.execute(statement("keep_thumbnails"))
    return checksum


def _copy_in(
    cursor: psycopg.Cursor, name: str, chunks: Iterable[bytes], **identifiers: object
) -> None:
    with cursor.copy(statement(name, **identifiers)) as copy:  # type: ignore[arg-type]
        copy.write(binary.HEADER)
        for chunk in chunks:
            copy.write(chunk)
        copy.write(binary.TRAILER)


def _require_same_model(commit: Commit, first: Commit) -> None:
    if commit.identity.key != first.identity.key:
        raise ModelError(
            f"shard {commit.shard} was embedded by {commit.identity.short}, shard {first.shard} "
            f"by {first.identity.short}. Pin `sha256` in the model block and materialize the "
            "shards of the other weights again."
        )
