"""Behind a pooler that lends connections per transaction, as pgbouncer does."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from clip_assets.postgres.migrate import migrate
from clip_assets.postgres.pooler import behind_pooler
from tests import web
from tests.integration.serving.support import (
    COLORS,
    drawn,
    publish,
    running,
    settings,
    wait_until_ready,
)
from tests.pooler import CONNECTIONS, pooler
from tests.provider import Provider

pytestmark = pytest.mark.skipif(
    shutil.which("pgbouncer") is None, reason="needs PgBouncer: apt-get install pgbouncer"
)

SEARCHES = 120  # every color, k and filter twice
PICTURES = [drawn(number) for number in range(30)]
OWN = (
    "SELECT current_user = session_user, current_setting('default_transaction_read_only'), "
    "current_setting('statement_timeout'), current_setting('enable_seqscan'), "
    "(SELECT count(*) FROM pg_prepared_statements)"
)


@pytest.fixture(params=["CREATEROLE", ""])
def owner(
    request: pytest.FixtureRequest, elsewhere: Provider, tiny_spec: ModelSpec, tiny: Encoder
) -> str:
    """Address of a released collection, with a clip_reader and without."""
    address = elsewhere.owner(request.param)
    vectors = tiny.encode_images([picture.image for picture in PICTURES])
    with psycopg.connect(address, autocommit=True) as connection:
        migrate(connection)
        publish(connection, tiny_spec, tiny.identity, PICTURES, vectors)
    return address


@pytest.fixture
def through(elsewhere: Provider, owner: str, open_folder: Callable[[], Path]) -> Iterator[str]:
    with pooler(elsewhere, owner, open_folder()) as address:
        yield address


def _states(address: str) -> set[tuple[object, ...]]:
    """What another client finds in every connection of the pooler's, held all at once."""
    with ExitStack() as held:
        rows = set()
        for _ in range(CONNECTIONS):
            connection = held.enter_context(psycopg.connect(address))
            connection.prepare_threshold = None
            rows.add(connection.execute(OWN).fetchone() or ())
        return rows


def test_a_pooler_is_noticed(owner: str, through: str) -> None:
    """By the server's process, which is another one than the pooler names."""
    with psycopg.connect(owner) as direct, psycopg.connect(through) as pooled:
        assert not behind_pooler(direct)
        assert behind_pooler(pooled)


def test_searches_behind_a_pooler_neither_fail_nor_leak(owner: str, through: str) -> None:
    """Eight clients with different texts and filters get what they get from the server itself;
    afterwards another client of the pooler finds its own role and may write."""
    before = _states(through)

    def ask(url: str, number: int) -> tuple[int, list[str]]:
        only = (None, {"words": COLORS[number % 6]}, {"min_width": 96}, {"words": "nothing"})
        body = {"text": f"text {number}", "k": 1 + number % 20, "filter": only[number % 4]}
        response = web.post(f"{url}/v1/search", json=body)
        hits = response.json().get("hits", [])
        return response.status_code, [hit["image_id"] for hit in hits]

    with ExitStack() as served:
        direct = served.enter_context(running(settings(owner)))
        wait_until_ready(direct)  # two models that load at once take each other's random weights
        pooled = served.enter_context(running(settings(through)))
        wait_until_ready(pooled)
        with ThreadPoolExecutor(8) as clients:
            answers = [*clients.map(lambda number: ask(pooled, number), range(SEARCHES))]
            assert {status for status, _ in answers} == {200}
            for number in range(0, SEARCHES, 7):
                assert answers[number] == ask(direct, number)
        assert _states(through) == before
        with ExitStack() as held:
            for number in range(CONNECTIONS):
                other = held.enter_context(psycopg.connect(through))
                other.execute(f"CREATE TABLE public.of_another_{number} (x int)")
    assert before == {(True, "off", "0", "on", 0)}
