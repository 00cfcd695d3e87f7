"""The graph of a release is read into Postgres' memory before the first searches need it."""

from collections.abc import Callable

import psycopg
import pytest

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from clip_assets.search import search
from serving.prewarm import _BLOCKS_AT_ONCE, _statement
from tests import web
from tests.integration.serving.support import (
    drawn,
    publish,
    running,
    settings,
    wait_until_ready,
)

PICTURES = [drawn(number) for number in range(4)]
# The embedded server has no pg_prewarm. This stands in its place and tells what it was asked.
STAND_IN = """
CREATE SCHEMA "Of Extensions";
GRANT USAGE ON SCHEMA "Of Extensions" TO public;
CREATE FUNCTION "Of Extensions".pg_prewarm(
    relation regclass, mode text, fork text, first bigint, last bigint
) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('read', format('%s %s %s %s', relation, mode, first, last));
    {fails}
    RETURN last - first + 1;
END
$$
"""
OF_AN_EXTENSION = """
ALTER EXTENSION vector
ADD FUNCTION "Of Extensions".pg_prewarm(regclass, text, text, bigint, bigint)
"""


@pytest.fixture
def release(database: str, tiny_spec: ModelSpec, tiny: Encoder) -> Callable[[], int]:
    """Publishes a new index and returns its number."""

    def release() -> int:
        vectors = tiny.encode_images([picture.image for picture in PICTURES])
        with psycopg.connect(database, autocommit=True) as connection:
            publish(connection, tiny_spec, tiny.identity, PICTURES, vectors)
            return search.live(connection).index_id

    return release


def _read(listening: psycopg.Connection, reads: int) -> list[str]:
    return [one.payload for one in listening.notifies(timeout=300, stop_after=reads)]


def test_the_graph_is_read_once_for_each_service(
    database: str, release: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its pages, a few at a time, by a reader's own rights."""
    monkeypatch.setattr("serving.prewarm._BLOCKS_AT_ONCE", 1)
    index_id = release()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(STAND_IN.format(fails=""))
        connection.execute(OF_AN_EXTENSION)
        hnsw = f"clip_assets.images_{index_id}_hnsw"
        size = connection.execute("SELECT pg_relation_size(%s::regclass)", [hnsw]).fetchone()
        assert size
        pages = size[0] // 8192
        assert 1 < pages < _BLOCKS_AT_ONCE
        connection.execute("LISTEN read")
        with running(settings(database, refresh_seconds=0.1)) as url:
            wait_until_ready(url)
            assert _read(connection, pages) == [
                f"{hnsw} buffer {page} {page}" for page in range(pages)
            ]
            web.post(f"{url}/v1/search", json={"text": "x", "k": 1}).raise_for_status()
            assert not [*connection.notifies(timeout=0)]


def test_searches_work_if_it_cannot_be_read(database: str, release: Callable[[], int]) -> None:
    """Nothing depends on reading ahead."""
    release()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(STAND_IN.format(fails="RAISE EXCEPTION 'permission denied';"))
        connection.execute(OF_AN_EXTENSION)
        with running(settings(database, refresh_seconds=0.1)) as url:
            wait_until_ready(url)
            web.post(f"{url}/v1/search", json={"text": "x", "k": 1}).raise_for_status()


def test_only_the_function_of_an_extension_is_called(
    database: str, release: Callable[[], int]
) -> None:
    """Somebody who may create a schema cannot have the service run something."""
    hnsw = {"hnsw": f"clip_assets.images_{release()}_hnsw"}
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(STAND_IN.format(fails=""))
        assert connection.execute(_statement("graph"), hnsw).fetchone() is None
        connection.execute(OF_AN_EXTENSION)
        found = connection.execute(_statement("graph"), hnsw).fetchone()
        assert found
        assert found[0] == '"Of Extensions".pg_prewarm'
