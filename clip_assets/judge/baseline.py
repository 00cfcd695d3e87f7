"""The release that a candidate is compared with."""

import psycopg

from clip_assets.errors import ReleaseError
from clip_assets.index import integrity, tables
from clip_assets.search.search import Release, live


def baseline_release(
    connection: psycopg.Connection, collection: str, index_id: int
) -> Release | None:
    """The live release of the collection.

    None if there is none, if it is a release of this index, whose shards are replaced in place, or
    if its table lacks rows: then it cannot be measured, and the candidate replaces it.
    """
    try:
        release = live(connection, collection)
    except ReleaseError:
        return None
    if release.index_id == index_id:
        return None
    index = tables.by_id(connection, release.index_id)
    # Without its HNSW it is searched exactly, so a comparison is still possible.
    damaged = integrity.visible_damage(connection, index, built=False)
    return None if damaged else release
