"""Migration 5 gives releases from before it the order in which they were live."""

import psycopg
import pytest

from clip_assets.postgres.connect import connect
from clip_assets.postgres.migrate import migrate
from clip_assets.release import release
from tests.integration.support import COLLECTION

RELEASES = "SELECT release_id, replaced, taken_back_at IS NOT NULL FROM clip_assets.release"


@pytest.fixture
def at_4(database: str) -> str:
    """A database as it was before migration 5, with three indexes of a collection."""
    with connect(database) as connection:
        connection.execute(
            "ALTER TABLE clip_assets.release DROP COLUMN replaced, DROP COLUMN taken_back_at; "
            "ALTER TABLE clip_assets.index DROP COLUMN columns; "
            "DROP TABLE clip_assets.owner, clip_assets.human_judgement; "
            "DELETE FROM clip_assets.migration WHERE number > 4"
        )
        connection.execute(
            "INSERT INTO clip_assets.index (collection, slug, identity_key, identity, spec, dim) "
            "SELECT 'photos', 'slug', n::text, '{}', '{}', 8 FROM generate_series(1, 3) AS n"
        )
    return database


def _released(connection: psycopg.Connection, *rows: tuple[int, str], live: int) -> None:
    for index_id, run_id in rows:
        connection.execute(
            "INSERT INTO clip_assets.release "
            "(collection, index_id, content, ef_search, rows, judgement, run_id) "
            "VALUES ('photos', %s, '', 40, 1, '{}', %s)",
            [index_id, run_id],
        )
    connection.execute("INSERT INTO clip_assets.live VALUES ('photos', %s)", [live])
    migrate(connection)


def test_releases_in_a_row(at_4: str) -> None:
    """Each replaced the one before, and a rollback goes where it would have gone."""
    with connect(at_4) as connection:
        _released(connection, (1, "a"), (2, "b"), (2, "c"), live=3)
        found = connection.execute(RELEASES + " ORDER BY 1").fetchall()
        assert found == [(1, None, False), (2, 1, False), (3, 2, False)]
        assert release.previous(connection, COLLECTION) == 1


def test_a_release_above_the_live_one_was_taken_back(at_4: str) -> None:
    """A rollback is the only way for the pointer to be below the newest release."""
    with connect(at_4) as connection:
        _released(connection, (1, "a"), (2, "b"), (3, "c"), live=2)
        found = connection.execute(RELEASES + " ORDER BY 1").fetchall()
        assert found == [(1, None, False), (2, 1, False), (3, 2, True)]
        assert release.previous(connection, COLLECTION) == 1


def test_a_release_that_a_rollback_made(at_4: str) -> None:
    """The index that this rollback left was taken back, in all its releases."""
    with connect(at_4) as connection:
        _released(connection, (1, "a"), (2, "b"), (2, "c"), (1, "rollback"), (3, "d"), live=5)
        found = connection.execute(RELEASES + " ORDER BY 1").fetchall()
        assert [taken_back for *_, taken_back in found] == [False, True, True, False, False]
        assert release.previous(connection, COLLECTION) == 4
