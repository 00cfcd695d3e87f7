"""Bring an index up to date: load, build and judge. Publishing is in `clip_assets.release`."""

from dataclasses import dataclass

import psycopg

from clip_assets import catalog
from clip_assets.index import build, load, owner, repair, tables, thumbnails
from clip_assets.index.load import Reconciled
from clip_assets.index.progress import Report, silent
from clip_assets.index.spec import IndexSpec
from clip_assets.index.tables import Index
from clip_assets.judge import judge
from clip_assets.judge.judgement import Judgement, Wanted
from clip_assets.store.objects import Objects


@dataclass(frozen=True)
class Updated:
    """What was loaded, whether a graph was built, the judgement, and the damaged shards whose rows
    were restored."""

    reconciled: Reconciled
    built: bool
    judgement: Judgement
    repaired: tuple[str, ...] = ()

    @property
    def index(self) -> Index:
        return self.reconciled.index


def update_index(
    connection: psycopg.Connection,
    objects: Objects,
    spec: IndexSpec,
    wanted: Wanted,
    report: Report,
) -> Updated:
    """Repair what is damaged, load new and changed shards, build a missing graph, and judge.

    Raises StoreError if there is no catalog or nothing is embedded, ModelError if the shards are
    of different models, ReleaseError if there are no images to search, and DatabaseError like
    `claim`.
    """
    head = catalog.require(objects, spec.collection)
    owner.claim(connection, objects, spec.collection)
    repaired = repair.repair(connection, objects, spec, report)
    done = load.reconcile(
        connection, objects, spec, [shard.at for shard in head.shards], head.column_types
    )
    report(f"loaded {len(done.loaded)}, unchanged {len(done.unchanged)} shards")
    if done.replaced:
        thumbnails.drop_unneeded(connection)
    if done.outgrown:
        report(
            f"{done.outgrown} stays in use until the next release: with so many new rows, building "
            "a new graph is faster than inserting into the old one"
        )
    built, judgement = build_and_judge(connection, objects, done.index, wanted, report)
    judge.judge_outgrown(connection, objects, done.index, wanted)
    return Updated(done, built, judgement, repaired)


def build_and_judge(
    connection: psycopg.Connection,
    objects: Objects,
    index: Index,
    wanted: Wanted,
    report: Report = silent,
) -> tuple[bool, Judgement]:
    """Build a loaded index's graph and judge it; returns whether this call built the graph, and the
    judgement. Raises ReleaseError if there are no images to search."""
    rows = tables.row_count(tables.ledger(connection, index))
    built = build.build(connection, index, rows, report, wanted.recall)
    return built, judge.judge(connection, objects, index, wanted)
