"""Setting up a database: once, by whoever comes first, or one sentence that says why not."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.types.json import Jsonb

from clip_assets.errors import DatabaseError
from clip_assets.index import build, tables
from clip_assets.index.spec import IndexSpec
from clip_assets.index.vector_type import VectorType
from clip_assets.postgres import embedded
from clip_assets.postgres.connect import _require_pgvector, connect, migrate
from clip_assets.release import release
from clip_assets.search import search
from clip_assets.store.objects import Objects
from tests.integration.support import COLLECTION, Made, Model, publish, reconcile

APPLIED = "SELECT sha256, xmin FROM clip_assets.applied_schema"


@pytest.fixture
def empty(database: str) -> str:
    """A database that was never migrated."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP SCHEMA clip_assets CASCADE")
        connection.execute("DROP EXTENSION vector")
    return database


def _schema(address: str) -> list[tuple[object, ...]]:
    with psycopg.connect(address) as connection:
        return connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'clip_assets' ORDER BY 1, 2"
        ).fetchall()


def _keys(address: str) -> list[tuple[object, ...]]:
    with psycopg.connect(address) as connection:
        return connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'clip_assets' ORDER BY 1"
        ).fetchall()


def _migrate(address: str) -> None:
    with connect(address) as connection:
        migrate(connection)


def test_again_changes_nothing(empty: str) -> None:
    """A second migration leaves the schema and its mark as they are."""
    _migrate(empty)
    with connect(empty) as connection:
        mark = connection.execute(APPLIED).fetchall()
        migrate(connection)
        assert connection.execute(APPLIED).fetchall() == mark
    assert len(mark) == 1


def test_a_migration_repeats_safely(database: str) -> None:
    """Applied over itself, as an upgrade does, the schema keeps every table and its rows."""
    before = _schema(database)
    with connect(database) as connection:
        connection.execute("INSERT INTO clip_assets.thumbnail VALUES ('a', 'b')")
        connection.execute("UPDATE clip_assets.applied_schema SET sha256 = 'of an older version'")
        migrate(connection)
        rows = connection.execute("SELECT sha256 FROM clip_assets.thumbnail").fetchall()
    assert rows == [("a",)]
    assert _schema(database) == before


def test_a_database_of_an_older_version(empty: str, tmp_path: Path) -> None:
    """A database made by the first schema, with a release in it, keeps that release, and takes
    the next one."""
    old = (Path(__file__).parent / "migrations/0_before_reports.sql").read_text()
    made = Made(Objects(str(tmp_path / "photos")))
    made.add("00000", 60)
    with connect(empty) as connection:
        connection.execute(old)  # type: ignore[arg-type]
        connection.execute("INSERT INTO clip_assets.applied_schema VALUES ('of that version')")
        _release_of_that_version(connection, made)
        migrate(connection)
        before = search.live(connection)
        assert (before.rows, before.report) == (60, None)
        other = replace(made, model=Model("second", dim=48, weights="b" * 64))
        other.add("00000", 60)
        live = publish(connection, other)
        assert live.identity == other.model.identity
        assert live.report
        assert live.report["live"] is None, "what was judged then cannot stand beside"
        assert release.roll_back(connection, COLLECTION) == before


def test_a_second_index_of_a_model(empty: str, new_database: Callable[[], str]) -> None:
    """A database of an older version, where a model had one index, ends with the tables and keys
    of a new one: what it has is of halfvec, one of vector may stand beside, and no third."""
    old = (Path(__file__).parent / "migrations/0_before_reports.sql").read_text()
    model = Model()
    with connect(empty) as connection:
        connection.execute(old)  # type: ignore[arg-type]
        connection.execute("INSERT INTO clip_assets.applied_schema VALUES ('of that version')")
        connection.execute(
            "INSERT INTO clip_assets.index (collection, slug, identity_key, identity, spec, dim) "
            "VALUES ('photos', %s, %s, %s, %s, %s)",
            [model.spec.slug, model.identity.key, Jsonb(model.identity.model_dump()),
             Jsonb(model.spec.model_dump()), model.dim],
        )  # fmt: skip
        for _ in range(2):
            migrate(connection)
            connection.execute("UPDATE clip_assets.applied_schema SET sha256 = 'of another'")
        assert (_schema(empty), _keys(empty)) == (_schema(new_database()), _keys(new_database()))
        for _ in range(2):
            made = [
                tables.ensure(
                    connection, IndexSpec(COLLECTION, model.spec, vector_type), model.identity
                )
                for vector_type in VectorType
            ]
            assert made[0].index_id == 1
        found = connection.execute("SELECT vector_type FROM clip_assets.index ORDER BY index_id")
        assert found.fetchall() == [("halfvec",), ("vector",)]


def _release_of_that_version(connection: psycopg.Connection, made: Made) -> None:
    # Today's loader asks for what came later; that database had none of it.
    connection.execute(
        "CREATE TABLE clip_assets.erased (collection text, image_id text, sha256 text, "
        "erasure text, copy_of_asked boolean, index_ids bigint[])"
    )
    connection.execute(
        "ALTER TABLE clip_assets.index ADD vector_type text, "
        "ADD UNIQUE (collection, slug, identity_key, vector_type)"
    )
    index = reconcile(connection, made).index
    connection.execute("DROP TABLE clip_assets.erased")
    connection.execute("ALTER TABLE clip_assets.index DROP vector_type")
    build.build(connection, index, 60)
    connection.execute(
        "WITH made AS (INSERT INTO clip_assets.release "
        "(collection, index_id, content, ef_search, rows, judgement, run_id) "
        "VALUES ('photos', %s, %s, 40, 60, '{\"rows\": 60}', 'run-1') RETURNING *) "
        "INSERT INTO clip_assets.live SELECT collection, release_id FROM made",
        [index.index_id, tables.content(connection, index.index_id)],
    )
    connection.execute(
        "CREATE SCHEMA photos; CREATE FUNCTION photos.search(query halfvec, k int DEFAULT 10) "
        "RETURNS TABLE (image_id text) LANGUAGE sql AS 'SELECT NULL::text'"
    )


def test_eight_at_once(empty: str) -> None:
    """Eight processes that find an empty database all end with the schema in place."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(_migrate, [empty] * 8))
    with psycopg.connect(empty) as connection:
        assert len(connection.execute("SELECT * FROM clip_assets.applied_schema").fetchall()) == 1


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


def test_without_pgvector(empty: str) -> None:
    """A server without pgvector is refused with what to install, and nothing is created."""
    with connect(empty) as connection:
        _pretend_pgvector(connection, None)
        with pytest.raises(DatabaseError, match="has no pgvector"):
            migrate(connection)
    assert _schema(empty) == []


@pytest.mark.parametrize("version", ["0.8.3", "0.7.4", "0.5.0"])
def test_an_old_pgvector(empty: str, version: str) -> None:
    """A pgvector before 0.8.4 is refused with the upgrade."""
    with connect(empty) as connection:
        _pretend_pgvector(connection, version)
        with pytest.raises(DatabaseError, match=f"pgvector {version}; 0.8.4 or newer is needed"):
            migrate(connection)
    assert _schema(empty) == []


def test_an_old_pgvector_under_a_schema_that_is_there(database: str) -> None:
    """A database that was set up before the floor rose hears of it too."""
    with connect(database) as connection, connection.transaction(force_rollback=True):
        _pretend_pgvector(connection, "0.8.3")
        with pytest.raises(DatabaseError, match=r"pgvector 0\.8\.3; 0\.8\.4 or newer"):
            migrate(connection)


@pytest.mark.parametrize("version", ["0.8.4", "0.8.5", "0.10.1", "1.0"])
def test_a_new_pgvector(empty: str, version: str) -> None:
    """0.8.4 and whatever comes after it will do."""
    with connect(empty) as connection:
        _pretend_pgvector(connection, version)
        _require_pgvector(connection)


def test_a_role_without_rights(empty: str) -> None:
    """A role that may not set up the schema hears what to grant."""
    with connect(empty) as connection:
        connection.execute("DROP ROLE IF EXISTS visitor")
        connection.execute("CREATE ROLE visitor")
        connection.execute("SET ROLE visitor")
        with pytest.raises(DatabaseError, match="Let an administrator grant it CREATE"):
            migrate(connection)


def test_nobody_answers() -> None:
    """An address where no server listens is one sentence with the remedy."""
    with pytest.raises(
        DatabaseError, match=r"does not answer: .*refused.* Check DATABASE_URL"
    ) as e:
        connect("postgresql://127.0.0.1:1/nothing")
    assert "\n" not in str(e.value)


def test_a_database_that_is_not_there(database: str) -> None:
    """A server that answers without having the database is told apart."""
    address = psycopg.conninfo.make_conninfo(database, dbname="no_such_database")
    with pytest.raises(DatabaseError, match=r'"no_such_database" does not exist. Check'):
        connect(address)


@pytest.mark.parametrize("address", ["postgres//me:{0}@host/db", "postgresql://me:{0}@host:x/db"])
def test_a_mistyped_address(address: str) -> None:
    """A DATABASE_URL that is no address is explained without giving its password away."""
    password = quote("hunter2")
    with pytest.raises(DatabaseError) as caught:
        connect(address.format(password))
    assert "DATABASE_URL" in str(caught.value)
    assert password not in str(caught.value)


def test_a_killed_process_does_not_keep_the_server() -> None:
    """Who was killed counts no more among those that want the embedded server, which stops with
    the last of them."""
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to the server's user
    folder.chmod(0o755)
    killed = (
        "import os, sys; from pathlib import Path; from clip_assets import embedded_postgres; "
        "embedded_postgres.start(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    cluster = folder / "postgres"
    done = subprocess.run([sys.executable, "-c", killed, str(cluster)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (cluster / "postmaster.pid").exists(), "it runs on, for nobody"
    embedded.start(cluster).cleanup()
    assert not (cluster / "postmaster.pid").exists()


def test_each_test_has_its_own(new_database: Callable[[], str]) -> None:
    """Databases of tests are migrated copies that do not share rows."""
    first, second = new_database(), new_database()
    with psycopg.connect(first, autocommit=True) as connection:
        connection.execute("INSERT INTO clip_assets.thumbnail VALUES ('a', 'b')")
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT count(*) FROM clip_assets.thumbnail").fetchone() == (0,)
