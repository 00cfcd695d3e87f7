"""Checks at every poll whether searches of a release find a known image."""

import logging

import psycopg

from clip_assets.errors import DatabaseError
from clip_assets.search import search
from clip_assets.search.search import Release

from .canary import Canary
from .database import Database
from .errors import IndexDamaged, Unavailable
from .live import Live
from .reader import may_not_read

logger = logging.getLogger(__name__)


async def check_index(live: Live, database: Database, release: Release) -> None:
    """Search for a known image within the time of a probe, and record the result in `live`."""
    fast: list[bool] = []

    def searched(connection: psycopg.Connection) -> None:
        fast.append(search.has_hnsw(connection, release))
        _checked(live.canary, connection, release)

    problem = None
    try:
        await database.glance(searched)
    except (IndexDamaged, DatabaseError) as error:
        problem = str(error)
    except (psycopg.OperationalError, Unavailable):
        # A busy database tells nothing new; but without an HNSW, searches stay slow.
        problem = live.index_problem if all(fast) else str(IndexDamaged(release))
    if problem and problem != live.index_problem:
        logger.error("index: %s", problem)
    live.index_problem = problem
    _note_speed(live, release, all(fast))


def _checked(canary: Canary, connection: psycopg.Connection, release: Release) -> None:
    try:
        with connection.transaction():
            canary.check(connection, release)
    except psycopg.errors.InsufficientPrivilege as error:
        raise may_not_read(connection) from error


def _note_speed(live: Live, release: Release, fast: bool) -> None:
    slow = (
        f"the index of release {release.id} has no valid HNSW, so searches compare all images: "
        f"run `clip-assets backfill {release.collection}`"
    )
    if not fast and not live.degraded:
        logger.warning("index: %s", slow)
    live.degraded = None if fast else slow
