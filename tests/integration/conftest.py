"""A made-up collection, not yet in a database, or live in one of the test's own."""

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

import psycopg
import pytest

from clip_assets.index.vector_type import VectorType
from clip_assets.judge import judge
from clip_assets.store.objects import Objects
from tests.conftest import until_dropped
from tests.integration.support import Made, Model, publish
from tests.provider import Provider, provider

FEW_QUERIES = 40


@dataclass(frozen=True)
class Released:
    """A released collection for tests to copy: its database and its files."""

    address: str
    folder: Path


@pytest.fixture(autouse=True)
def _few_queries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A judgement by few queries will do, but for tests of judging: a query takes milliseconds."""
    if request.node.get_closest_marker("all_queries") is None:
        monkeypatch.setattr(judge, "QUERIES", FEW_QUERIES)


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Processes that start at once, with loader, node program and component imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "tests.integration.support",
            "clip_assets.node.embed",
            "clip_assets.component.image_collection",
        ]
    )
    return context


@pytest.fixture(scope="session")
def four_shards(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Made], Made]:
    """Adds four shards of fifty images to a collection, the files of each model written once."""

    @cache
    def written(model: Model) -> Path:
        folder = tmp_path_factory.mktemp("four_shards")
        made = Made(Objects(str(folder)), model)
        for number in range(4):
            made.add(f"{number:05d}")
        return folder

    def add(made: Made) -> Made:
        shutil.copytree(written(made.model), made.objects.root, dirs_exist_ok=True)
        return made

    return add


@pytest.fixture
def vector_type() -> VectorType:
    """How the index of `made` and `released` stores vectors; see `both_types`."""
    return VectorType.HALFVEC


@pytest.fixture(scope="session")
def released_once(
    new_database: Callable[..., str],
    four_shards: Callable[[Made], Made],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[VectorType], Released]:
    @cache
    def once(vector_type: VectorType) -> Released:
        folder = tmp_path_factory.mktemp("released")
        address = new_database()
        with psycopg.connect(address, autocommit=True) as connection:
            publish(connection, four_shards(Made(Objects(str(folder)), vector_type=vector_type)))
        return Released(address, folder)

    return once


@pytest.fixture
def database(
    request: pytest.FixtureRequest,
    new_database: Callable[..., str],
    vector_type: VectorType,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """Address of a fresh database; the collection is live in it if the test asks for `released`."""
    if "released" in request.fixturenames:
        copied = [request.getfixturevalue("released_once")(vector_type).address]
    else:
        copied = []
    with until_dropped(new_database(*copied)) as address:
        monkeypatch.setenv("DATABASE_URL", address)
        yield address


@pytest.fixture
def made(four_shards: Callable[[Made], Made], tmp_path: Path, vector_type: VectorType) -> Made:
    """Four shards of fifty images, not yet in any database."""
    return four_shards(Made(Objects(str(tmp_path / "photos")), vector_type=vector_type))


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
def other(request: pytest.FixtureRequest, four_shards: Callable[[Made], Made]) -> Made:
    """The same images by a second model, of another dimension."""
    name = "released" if "released" in request.fixturenames else "made"
    first: Made = request.getfixturevalue(name)
    return four_shards(replace(first, model=Model("second", dim=48, weights="b" * 64)))


@pytest.fixture(scope="session")
def postgres_of(open_folder: Callable[[], Path]) -> Iterator[Callable[[int], Provider]]:
    """Servers of other people, one for each major version that is asked for: 16 or 18."""
    with ExitStack() as running:

        @cache
        def of(version: int) -> Provider:
            return running.enter_context(provider(open_folder(), version))

        yield of


@pytest.fixture(params=[16, 18])
def elsewhere(request: pytest.FixtureRequest, postgres_of: Callable[[int], Provider]) -> Provider:
    """Somebody else's Postgres, with no role or database of ours."""
    server = postgres_of(request.param)
    server.forget()
    return server


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
