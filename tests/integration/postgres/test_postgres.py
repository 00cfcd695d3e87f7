"""Connecting to a database that has the right pgvector; otherwise one sentence says what to do."""

from collections.abc import Callable

import psycopg
import pytest

from clip_assets.errors import DatabaseError
from clip_assets.postgres.connect import connect
from clip_assets.postgres.migrate import migrate
from clip_assets.postgres.pgvector import require_pgvector


def _pretend_pgvector(connection: psycopg.Connection, version: str | None) -> None:
    """No Postgres without pgvector, or with an old one, is at hand: for this connection a
    temporary table, which is found before pg_catalog, stands in for the server's own list."""
    connection.execute("SET search_path = pg_temp, pg_catalog, public")
    connection.execute(
        "CREATE TEMP TABLE pg_available_extensions "
        "(name name, default_version text, installed_version text)"
    )
    connection.execute("INSERT INTO pg_available_extensions VALUES ('plpgsql', '1.0', '1.0')")
    if version:
        connection.execute(
            "INSERT INTO pg_available_extensions VALUES ('vector', %s, NULL)", [version]
        )


def _tables(address: str) -> list[tuple[object, ...]]:
    with psycopg.connect(address) as connection:
        found = "SELECT tablename FROM pg_tables WHERE schemaname = 'clip_assets'"
        return connection.execute(found).fetchall()


def test_without_pgvector(empty: str) -> None:
    """A server without pgvector is refused with what to install, and nothing is created."""
    with connect(empty) as connection:
        _pretend_pgvector(connection, None)
        with pytest.raises(DatabaseError, match="has no pgvector"):
            migrate(connection)
    assert _tables(empty) == []


@pytest.mark.parametrize("version", ["0.7.4", "0.5.0"])
@pytest.mark.parametrize("allowed", [False, True])
def test_an_old_pgvector(empty: str, version: str, allowed: bool) -> None:
    """A pgvector without iterative scans is refused with the upgrade, whatever is allowed."""
    with connect(empty) as connection:
        _pretend_pgvector(connection, version)
        with pytest.raises(DatabaseError, match=f"pgvector {version}; 0.8.4 or newer is needed"):
            migrate(connection, allow_old_pgvector=allowed)
    assert _tables(empty) == []


@pytest.mark.parametrize("version", ["0.8.0", "0.8.3"])
def test_a_risky_pgvector(empty: str, version: str, caplog: pytest.LogCaptureFixture) -> None:
    """One that can damage an index is refused with the setting that permits it; then it warns."""
    with connect(empty) as connection:
        _pretend_pgvector(connection, version)
        with pytest.raises(DatabaseError, match="CLIP_ASSETS_ALLOW_OLD_PGVECTOR=true"):
            require_pgvector(connection)
        require_pgvector(connection, allow_old=True)
    assert f"pgvector {version}, in which a VACUUM" in caplog.text
    assert "0.8.4 fixes this" in caplog.text


def test_an_old_pgvector_under_a_schema_that_is_there(database: str) -> None:
    """A database that was set up with an older pgvector is refused too."""
    with connect(database) as connection, connection.transaction(force_rollback=True):
        _pretend_pgvector(connection, "0.8.3")
        with pytest.raises(DatabaseError, match=r"pgvector 0\.8\.3, in which"):
            migrate(connection)


@pytest.mark.parametrize("version", ["0.8.4", "0.8.5", "0.10.1", "1.0"])
def test_a_new_pgvector(empty: str, version: str) -> None:
    """0.8.4 and whatever comes after it will do."""
    with connect(empty) as connection:
        _pretend_pgvector(connection, version)
        require_pgvector(connection)


def test_a_role_without_rights(empty: str) -> None:
    """If a role may not set up the schema, the error says what to grant."""
    with connect(empty) as connection:
        connection.execute("DROP ROLE IF EXISTS visitor")
        connection.execute("CREATE ROLE visitor")
        connection.execute("SET ROLE visitor")
        with pytest.raises(DatabaseError, match="Ask an administrator to run GRANT CREATE ON"):
            migrate(connection)


def test_a_server_that_does_not_answer() -> None:
    """An address where no server listens is one sentence with the remedy."""
    with pytest.raises(
        DatabaseError, match=r"does not answer: .*refused.* Check DATABASE_URL"
    ) as e:
        connect("postgresql://127.0.0.1:1/nothing")
    assert "\n" not in str(e.value)


def test_a_database_that_is_not_there(database: str) -> None:
    """A missing database on a running server has its own error message."""
    address = psycopg.conninfo.make_conninfo(database, dbname="no_such_database")
    with pytest.raises(DatabaseError, match=r'"no_such_database" does not exist. Check'):
        connect(address)


def test_each_test_has_its_own(new_database: Callable[[], str]) -> None:
    """Databases of tests are migrated copies that do not share rows."""
    first, second = new_database(), new_database()
    with psycopg.connect(first, autocommit=True) as connection:
        connection.execute("INSERT INTO clip_assets.thumbnail VALUES ('a', 'b')")
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT count(*) FROM clip_assets.thumbnail").fetchone() == (0,)
