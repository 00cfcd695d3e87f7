"""Bring a collection's release up to date; assets, command line and snapshots share this."""

from dataclasses import dataclass

import psycopg

from clip_assets.index import owner, tables, thumbnails
from clip_assets.index.progress import Report
from clip_assets.index.spec import IndexSpec
from clip_assets.judge.judgement import Wanted
from clip_assets.judge.update import Updated, update_index
from clip_assets.release import release, retire
from clip_assets.search.search import Release
from clip_assets.store.objects import Objects


@dataclass(frozen=True, kw_only=True)
class ReleaseSpec(IndexSpec):
    """An index to release, what it must reach, and how many indexes to keep, the live one
    included."""

    wanted: Wanted
    keep_indexes: int


@dataclass(frozen=True)
class Published:
    """The live release, whether this call made it live, and the tables that were dropped."""

    release: Release
    moved: bool
    dropped: list[str]


def bring_up_to_date(
    connection: psycopg.Connection,
    objects: Objects,
    spec: ReleaseSpec,
    run_id: str,
    report: Report,
) -> tuple[Updated, Published]:
    """Reconcile, build, judge, publish and retire. Raises like `update_index` and `publish`."""
    updated = update_index(connection, objects, spec, spec.wanted, report)
    return updated, publish_and_retire(connection, objects, spec, run_id)


def publish_and_retire(
    connection: psycopg.Connection, objects: Objects, spec: ReleaseSpec, run_id: str
) -> Published:
    """Make the newest index of this model and type live, and drop superseded ones.

    Raises DatabaseError if there is none, or like `claim`, and ReleaseError like `publish`.
    """
    owner.claim(connection, objects, spec.collection)
    index = tables.find(connection, spec.collection, spec.model.slug, spec.vector_type)
    live, moved = release.publish(connection, index, run_id)
    dropped = retire.drop_superseded(connection, spec.collection, spec.keep_indexes)
    if dropped:
        thumbnails.drop_unneeded(connection)
    return Published(live, moved, dropped)
