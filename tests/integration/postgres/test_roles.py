"""Each role does its own work and nothing else."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from clip_assets.errors import NeverMigratedError
from clip_assets.index import load, tables
from clip_assets.postgres.connect import (
    connect_owner,
    connect_reader,
    database_dsn,
    reader_dsn,
)
from clip_assets.settings import Settings
from clip_assets.store import commit as commits
from serving.database import CONNECTION
from tests.integration.support import Made, find

REFUSED = (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction)

NOT_FOR_A_LOADER = [
    "INSERT INTO clip_assets.live VALUES ('photos', 1)",
    "UPDATE clip_assets.release SET content = 'mine'",
    "UPDATE clip_assets.index SET judgement = '{}'",
    "DELETE FROM clip_assets.index",
    "UPDATE clip_assets.applied_schema SET sha256 = ''",
    "DELETE FROM clip_assets.migration",
    "TRUNCATE clip_assets.ledger",
    "DROP TABLE clip_assets.images_1",
    "DROP INDEX clip_assets.images_1_hnsw",
    "ALTER TABLE clip_assets.images_1 DROP COLUMN caption",
    "CREATE TABLE clip_assets.mine (a int)",
    "CREATE SCHEMA mine",
    "CREATE OR REPLACE VIEW photos.images AS SELECT 1 AS image_id",
    "SELECT pg_read_file('PG_VERSION')",
    "COPY clip_assets.live TO PROGRAM 'cat'",
    "CREATE ROLE mine",
]
NOT_FOR_A_READER = [
    "INSERT INTO clip_assets.thumbnail VALUES ('a', 'b')",
    "UPDATE clip_assets.release SET content = 'mine'",
    "DELETE FROM clip_assets.ledger",
    "CREATE TABLE clip_assets.mine (a int)",
    "CREATE SCHEMA mine",
    "SELECT pg_read_file('PG_VERSION')",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "ALTER ROLE clip_reader CONNECTION LIMIT -1",
]


def test_a_loader_loads(connection: psycopg.Connection, released: Made) -> None:
    """clip_loader replaces a shard, ledger and thumbnails with it, as the owner would."""
    released.add("00002", version=2)
    index = find(connection, released)
    path = commits.newest(released.objects, released.model.spec.slug)["00002"]
    commit = commits.read_path(released.objects, path)
    connection.execute("SET ROLE clip_loader")
    load.load_shard(connection, released.objects, index, commit, path)
    loaded = tables.LoadedShard("00002", path, commit.digest, 50)
    assert tables.ledger(connection, index)["00002"] == loaded


def test_a_loader_does_nothing_else(connection: psycopg.Connection, released: Made) -> None:
    """It can neither publish, judge, define nor drop, nor reach the server's files."""
    connection.execute("SET ROLE clip_loader")
    for statement in NOT_FOR_A_LOADER:
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(statement)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def as_login(open_folder: Callable[[], Path]) -> str:
    """Address under which an embedded server of its own lets readers in."""
    settings = Settings(home=open_folder(), _env_file=None)
    with pytest.raises(NeverMigratedError, match="Nothing is released yet"):
        connect_reader(settings)  # it creates neither a schema nor roles
    connect_owner(settings).close()
    connect_reader(settings).close()
    return reader_dsn(settings)


def test_the_embedded_server_lets_readers_in_as_readers(as_login: str) -> None:
    """Whoever has the service's address is clip_reader by login: read-only, with limits."""
    with psycopg.connect(as_login, autocommit=True) as reader:
        row = reader.execute(
            "SELECT session_user, current_setting('default_transaction_read_only'), "
            "current_setting('statement_timeout'), rolconnlimit, rolsuper "
            "FROM pg_roles WHERE rolname = session_user"
        ).fetchone()
    assert row == ("clip_reader", "on", "1min", 64, False)


@pytest.mark.parametrize("statement", NOT_FOR_A_READER)
def test_a_reader_stays_one(as_login: str, statement: str) -> None:
    """Lifting its own settings and resetting its role gain it nothing."""
    with psycopg.connect(as_login, **CONNECTION) as reader:  # type: ignore[arg-type]
        reader.execute("SET default_transaction_read_only = off")
        reader.execute("RESET ROLE")
        with pytest.raises(REFUSED):
            reader.execute(statement)  # type: ignore[arg-type]


def test_a_named_server_keeps_its_address(settings: Settings) -> None:
    """Roles of a server that DATABASE_URL names are its administrator's; nothing is changed."""
    assert reader_dsn(settings) == database_dsn(settings)
    with psycopg.connect(database_dsn(settings)) as connection:
        row = connection.execute(
            "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'clip_reader'"
        ).fetchone()
    assert row == (False,)
