"""A thumbnail is deleted after the last row that uses it, and not earlier."""

from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from clip_assets.index import load, thumbnails
from clip_assets.release import retire
from tests.integration.support import (
    COLLECTION,
    Made,
    Model,
    build_and_judge,
    find,
    publish,
    reconcile,
)


def test_thumbnails_of_a_replaced_shard_are_deleted(
    connection: psycopg.Connection, released: Made
) -> None:
    """Thumbnails that any index has a row for are kept."""
    before = _thumbnails(connection)
    assert (len(before), thumbnails.drop_unneeded(connection)) == (200, 0)
    released.add("00001", version=2)
    assert reconcile(connection, released).replaced == ["00001"]
    assert len(_thumbnails(connection)) == 250
    assert thumbnails.drop_unneeded(connection) == 50
    assert _thumbnails(connection) == _needed(released)
    assert len(_thumbnails(connection) & before) == 150


def test_thumbnails_of_a_dropped_index_are_deleted(
    connection: psycopg.Connection, released: Made, other: Made
) -> None:
    """They are kept if another index has a row with the same content."""
    alone = replace(released, model=Model("third", weights="c" * 64))
    alone.add("00000", seed=77)
    for made in (alone, other, released):
        publish(connection, made)
    assert thumbnails.drop_unneeded(connection) == 0
    dropped = retire.drop_superseded(connection, COLLECTION, keep=2)
    assert dropped == [f"images_{find(connection, alone).index_id}"]
    assert thumbnails.drop_unneeded(connection) == 50
    assert _thumbnails(connection) == _needed(released)


def test_thumbnails_are_deleted_in_batches(
    connection: psycopg.Connection, released: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many thumbnails are deleted in batches, so that loads are blocked only briefly."""
    monkeypatch.setattr(thumbnails, "_AT_ONCE", 7)
    released.add("00001", version=2)
    reconcile(connection, released)
    assert thumbnails.drop_unneeded(connection) == 50


def test_a_running_load_keeps_its_thumbnails(
    database: str, connection: psycopg.Connection, released: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It found existing thumbnails and has not committed its rows yet."""
    monkeypatch.setattr(thumbnails, "LOCK_TIMEOUT", "50ms")
    released.add("00001", version=2)
    index = build_and_judge(connection, released)
    again = released.add("00001", version=3, seed=1001)  # the content of the first version
    with psycopg.connect(database) as loader, loader.transaction():
        load.load_shard(loader, released.objects, index, again, "commit.json")
        assert thumbnails.drop_unneeded(connection) == 0
    assert thumbnails.drop_unneeded(connection) == 50
    assert _thumbnails(connection) == _needed(released)


def test_a_load_committed_meanwhile_keeps_its_thumbnails(
    connection: psycopg.Connection, released: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It committed after the tables were read, and before the lock."""
    released.add("00001", version=2)
    index = build_and_judge(connection, released)
    again = released.add("00001", version=3, seed=1001)
    monkeypatch.setattr(
        thumbnails,
        "_of_no_row",
        _then(
            thumbnails._of_no_row,
            lambda: load.load_shard(connection, released.objects, index, again, "commit.json"),
        ),
    )
    assert thumbnails.drop_unneeded(connection) == 0
    assert _needed(released) < _thumbnails(connection)


def _then(
    ask: Callable[[psycopg.Connection], list[str]], do: Callable[[], None]
) -> Callable[[psycopg.Connection], list[str]]:
    def both(connection: psycopg.Connection) -> list[str]:
        found = ask(connection)
        do()
        return found

    return both


def _thumbnails(connection: psycopg.Connection) -> set[str]:
    return {sha256 for (sha256,) in connection.execute("SELECT sha256 FROM clip_assets.thumbnail")}


def _needed(made: Made) -> set[str]:
    return set(made.rows().column("sha256").to_pylist())
