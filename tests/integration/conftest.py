"""A made-up collection, not yet in a database, or live in one of the test's own."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from clip_assets.index.vector_type import VectorType
from clip_assets.store.objects import Objects
from tests.integration.support import Made, Model, publish


@dataclass(frozen=True)
class Released:
    """A released collection for tests to copy: its database and its files."""

    address: str
    folder: Path


@pytest.fixture
def vector_type() -> VectorType:
    """How the index of `made` and `released` stores vectors; see `both_types`."""
    return VectorType.HALFVEC


@pytest.fixture(scope="session")
def released_once(
    new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[VectorType], Released]:
    @cache
    def once(vector_type: VectorType) -> Released:
        folder = tmp_path_factory.mktemp("released")
        address = new_database()
        with psycopg.connect(address, autocommit=True) as connection:
            publish(connection, _four_shards(Made(Objects(str(folder)), vector_type=vector_type)))
        return Released(address, folder)

    return once


@pytest.fixture
def database(
    request: pytest.FixtureRequest,
    new_database: Callable[[], str],
    vector_type: VectorType,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Address of a fresh database; the collection is live in it if the test asks for `released`."""
    address = new_database()
    if "released" in request.fixturenames:
        _copy_database(request.getfixturevalue("released_once")(vector_type).address, address)
    monkeypatch.setenv("DATABASE_URL", address)
    return address


@pytest.fixture
def made(tmp_path: Path, vector_type: VectorType) -> Made:
    """Four shards of fifty images, not yet in any database."""
    return _four_shards(Made(Objects(str(tmp_path / "photos")), vector_type=vector_type))


@pytest.fixture
def released(
    database: str,
    released_once: Callable[[VectorType], Released],
    vector_type: VectorType,
    tmp_path: Path,
) -> Made:
    """The same collection, live."""
    shutil.copytree(released_once(vector_type).folder, tmp_path / "released")
    return Made(Objects(str(tmp_path / "released")), vector_type=vector_type)


@pytest.fixture
def other(request: pytest.FixtureRequest) -> Made:
    """The same images by a second model, of another dimension."""
    name = "released" if "released" in request.fixturenames else "made"
    first: Made = request.getfixturevalue(name)
    return _four_shards(replace(first, model=Model("second", dim=48, weights="b" * 64)))


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def as_reader(database: str) -> Iterator[Callable[[], psycopg.Connection]]:
    """Opens connections with the rights of an analyst."""
    opened: list[psycopg.Connection] = []

    def connect() -> psycopg.Connection:
        connection = psycopg.connect(database, autocommit=True)
        connection.execute("SET ROLE clip_reader")
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


def _four_shards(made: Made) -> Made:
    for number in range(4):
        made.add(f"{number:05d}")
    return made


def _copy_database(source: str, target: str) -> None:
    names = [psycopg.conninfo.conninfo_to_dict(one)["dbname"] for one in (target, source)]
    with psycopg.connect(psycopg.conninfo.make_conninfo(source, dbname="postgres")) as server:
        server.autocommit = True
        server.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(str(names[0]))))
        identifiers = [sql.Identifier(str(name)) for name in names]
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*identifiers))
