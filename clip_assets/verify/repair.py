"""Repairs faults from sound files."""

from collections.abc import Iterable, Iterator

import psycopg

from clip_assets import catalog
from clip_assets.catalog import Catalog
from clip_assets.index import build, load, owner, tables
from clip_assets.index import repair as index_repair
from clip_assets.index.progress import Report
from clip_assets.index.spec import IndexSpec
from clip_assets.store.objects import Objects
from clip_assets.verify.finding import Fault, Remedy


def repair(
    connection: psycopg.Connection | None,
    objects: Objects,
    head: Catalog,
    faults: Iterable[Fault],
    report: Report,
) -> None:
    """Hand an index over to this data if its own data is lost, reload damaged shards into the
    indexes, and mark shards with damaged files so that the next backfill embeds them again.

    Until then the old files stay, and their loaded rows go on answering. Raises DatabaseError like
    `hand_over`.
    """
    faults = list(faults)
    if connection and any(fault.remedy is Remedy.HAND_OVER for fault in faults):
        owner.hand_over(connection, objects, head.collection)
        report(f"{head.collection} in this database belongs to the data at {objects.root} now")
    if connection:
        for index_id in sorted({fault.index_id for fault in faults if fault.index_id}):
            _load_again(connection, objects, index_id, faults, report)
    unlisted = {fault.shard for fault in faults if fault.remedy is Remedy.RESTORE}
    shards = sorted(set(_of(faults, Remedy.EMBED_AGAIN)) - unlisted)
    if shards:
        catalog.renew(objects, head.collection, shards)
        report(f"marked to be embedded again: {', '.join(shards)}")


def _load_again(
    connection: psycopg.Connection,
    objects: Objects,
    index_id: int,
    faults: list[Fault],
    report: Report,
) -> None:
    index = tables.by_id(connection, index_id)
    spec = IndexSpec(index.collection, index.spec, index.vector_type)
    index_repair.repair(connection, objects, spec, report)
    # If the ledger itself is wrong, its digest differs from its commit's.
    own = [fault for fault in faults if fault.index_id == index_id]
    loaded = tables.ledger(connection, index)
    paths = {shard: loaded[shard].commit_path for shard in _of(own, Remedy.LOAD_AGAIN)
             if shard in loaded and objects.exists(loaded[shard].commit_path)}  # fmt: skip
    load.load_all(connection, objects, index, paths)
    report(f"loaded again into {tables.table_name(index_id)}: {', '.join(sorted(paths))}")
    if index.judgement is not None:
        build.build(connection, index, tables.row_count(loaded), report)


def _of(faults: Iterable[Fault], remedy: Remedy) -> Iterator[str]:
    return (fault.shard for fault in faults if fault.remedy is remedy and fault.shard)
