"""An index that was damaged by hand never passes for an empty one."""

import time
from collections.abc import Callable, Iterator

import httpx
import psycopg
import pytest

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from tests import web
from tests.integration.serving.support import (
    drawn,
    publish,
    readiness,
    running,
    settings,
    wait_until,
    wait_until_ready,
    wait_until_unready,
)

PICTURES = [drawn(number) for number in range(12)]
SENTENCE = "The index of release 1 is damaged: run `clip-assets backfill sample`."
DAMAGES = {
    "dropped": "DROP TABLE clip_assets.images_1 CASCADE",
    "emptied": "TRUNCATE clip_assets.images_1",
    "rows deleted": "DELETE FROM clip_assets.images_1",
    "recreated": "CREATE TABLE clip_assets.empty (LIKE clip_assets.images_1 INCLUDING ALL); "
    "DROP TABLE clip_assets.images_1 CASCADE; "
    "ALTER TABLE clip_assets.empty RENAME TO images_1",
    "without vectors": "ALTER TABLE clip_assets.images_1 DROP COLUMN embedding",
    "without a ledger": "DELETE FROM clip_assets.ledger",
}
REQUESTS = (
    {"text": "a gold ellipse"},
    {"text": "a gold ellipse", "filter": {"words": "gold"}},
    {"text": "a gold ellipse", "filter": {"words": "nothing has this caption"}},
    {"image_id": PICTURES[3].image_id},
)


@pytest.fixture
def dsn(new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder) -> str:
    dsn = new_database()
    vectors = tiny.encode_images([picture.image for picture in PICTURES])
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, tiny_spec, tiny.identity, PICTURES, vectors)
    return dsn


@pytest.fixture
def hand(dsn: str) -> Iterator[psycopg.Connection]:
    """What somebody with every right does."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def _ask(url: str, body: dict[str, object]) -> httpx.Response:
    return web.post(f"{url}/v1/search", json=body)


def _message(response: httpx.Response) -> str:
    assert response.status_code == 503, response.text
    message: str = response.json()["detail"]
    return message


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_not_ready(dsn: str, hand: psycopg.Connection, damage: str) -> None:
    """Readiness and every answer say which release is damaged and what to run."""
    with running(settings(dsn, refresh_seconds=0.1)) as url:
        wait_until_ready(url)
        hand.execute(DAMAGES[damage])
        wait_until_unready(url, SENTENCE)
        assert readiness(url)[0] == 503
        assert {_message(_ask(url, body)) for body in REQUESTS} == {SENTENCE}
        record = web.get(f"{url}/v1/images/{PICTURES[3].image_id}")
        assert _message(record) == SENTENCE


@pytest.mark.parametrize("damage", ["dropped", "emptied", "recreated"])
def test_no_answer_is_empty_before_readiness_follows(
    dsn: str, hand: psycopg.Connection, damage: str
) -> None:
    """Between two polls too, a search of a damaged index is refused with the same sentence."""
    served = settings(dsn, refresh_seconds=0.1, silence_seconds=7200)
    with running(served) as url:
        wait_until_ready(url)
        served.refresh_seconds = 3600
        time.sleep(1)  # for the last poll, which would see it too
        hand.execute(DAMAGES[damage])
        assert {_message(_ask(url, body)) for body in REQUESTS} == {SENTENCE}
        record = web.get(f"{url}/v1/images/{PICTURES[3].image_id}")
        assert _message(record) == SENTENCE


@pytest.mark.parametrize("table", ["index", "release", "live"])
def test_a_table_of_releases_that_was_dropped_is_not_ready(
    dsn: str, hand: psycopg.Connection, table: str
) -> None:
    """Readiness says what is missing; what is searched without that table is answered still."""
    with running(settings(dsn, refresh_seconds=0.1)) as url:
        wait_until_ready(url)
        hand.execute(f"DROP TABLE clip_assets.{table} CASCADE")  # type: ignore[arg-type]
        wait_until(lambda: readiness(url)[0] == 503, url)
        assert f"there is no table {table}" in str(readiness(url)[1]["problems"])
        assert {_ask(url, body).status_code for body in REQUESTS} <= {200, 503}


def test_a_restored_index_answers_again(dsn: str, hand: psycopg.Connection) -> None:
    """Once its rows are back, the service is ready by itself."""
    with running(settings(dsn, refresh_seconds=0.1)) as url:
        wait_until_ready(url)
        hand.execute("CREATE TABLE kept AS SELECT * FROM clip_assets.images_1")
        hand.execute("TRUNCATE clip_assets.images_1")
        wait_until_unready(url, SENTENCE)
        hand.execute("INSERT INTO clip_assets.images_1 SELECT * FROM kept")
        wait_until_ready(url)
        assert len(_ask(url, {"text": "a gold ellipse", "k": 12}).json()["hits"]) == 12


def test_erased_images_are_no_damage(dsn: str, hand: psycopg.Connection) -> None:
    """One image after another is erased with its place in the ledger, even the last one: the
    service stays ready, whichever image it searched for to be sure."""
    with running(settings(dsn, refresh_seconds=0.05)) as url:
        wait_until_ready(url)
        for number, picture in enumerate(PICTURES, 1):
            with hand.transaction():
                hand.execute(
                    "DELETE FROM clip_assets.images_1 WHERE image_id = %s", [picture.image_id]
                )
                hand.execute("UPDATE clip_assets.ledger SET rows = rows - 1")
            for _ in range(3):
                response = _ask(url, {"text": "a gold ellipse", "k": 12})
                assert response.status_code == 200, response.text
                assert len(response.json()["hits"]) == len(PICTURES) - number
        assert readiness(url)[0] == 200


def test_a_missing_hnsw_is_said(dsn: str, hand: psycopg.Connection) -> None:
    """Searches then compare all images, which readiness says until there is a valid one again."""
    with running(settings(dsn, refresh_seconds=0.1)) as url:
        wait_until_ready(url)
        (definition,) = hand.execute(
            "SELECT pg_get_indexdef('clip_assets.images_1_hnsw'::regclass)"
        ).fetchone() or ("",)
        hand.execute("DROP INDEX clip_assets.images_1_hnsw")
        wait_until(lambda: "has no valid HNSW" in str(readiness(url)[1]["degraded"]), url)
        assert len(_ask(url, {"text": "a gold ellipse", "k": 12}).json()["hits"]) == 12
        hand.execute(definition)
        wait_until(lambda: readiness(url)[1]["degraded"] is None, url)
        hand.execute(
            "UPDATE pg_index SET indisvalid = false "
            "WHERE indexrelid = 'clip_assets.images_1_hnsw'::regclass"
        )
        wait_until(lambda: "has no valid HNSW" in str(readiness(url)[1]["degraded"]), url)
