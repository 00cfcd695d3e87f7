"""A rollback returns to what was live before, and never to what was taken back."""

from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from clip_assets.errors import ReleaseError
from clip_assets.judge import judge
from clip_assets.judge.judgement import Wanted
from clip_assets.release import release, retire
from clip_assets.search import search
from tests.integration.support import COLLECTION, Made, Model, find, publish, reconcile

NONE_LEFT = "no earlier release of another index"


@pytest.fixture
def third(released: Made, four_shards: Callable[[Made], Made]) -> Made:
    """The same images by a third model."""
    return four_shards(replace(released, model=Model("third", dim=16, weights="c" * 64)))


def test_a_rollback_returns_to_what_was_live_before(
    connection: psycopg.Connection, released: Made, other: Made, third: Made
) -> None:
    """The release that was taken back has a higher number than the one that was live; it stays
    away, also from the rollback after that."""
    first = search.live(connection)
    taken_back = publish(connection, other)
    release.roll_back(connection, COLLECTION)
    publish(connection, third)
    assert release.previous(connection, COLLECTION) == first.id
    assert release.roll_back(connection, COLLECTION) == first
    with pytest.raises(ReleaseError, match=NONE_LEFT):
        release.roll_back(connection, COLLECTION)
    history = connection.execute(
        "SELECT release_id, replaced, taken_back_at IS NOT NULL FROM photos.releases ORDER BY 1"
    ).fetchall()
    assert history == [
        (first.id, None, False),
        (taken_back.id, first.id, True),
        (taken_back.id + 1, first.id, True),
    ]


def test_rollbacks_go_back_one_by_one(
    connection: psycopg.Connection, released: Made, other: Made, third: Made
) -> None:
    """Each rollback is one step further back, to the first release."""
    first, second, _ = (
        search.live(connection),
        publish(connection, other),
        publish(connection, third),
    )
    assert release.roll_back(connection, COLLECTION) == second
    assert release.roll_back(connection, COLLECTION) == first


def test_an_index_that_was_taken_back_stays_away_under_its_earlier_numbers(
    connection: psycopg.Connection, released: Made, other: Made
) -> None:
    """Releases of one index have the same rows, so all of them are taken back."""
    for made in (other, released, other):
        publish(connection, made)
    first = find(connection, released).index_id
    assert release.roll_back(connection, COLLECTION).index_id == first
    with pytest.raises(ReleaseError, match=NONE_LEFT):
        release.roll_back(connection, COLLECTION)


def test_published_again_it_can_be_returned_to(
    connection: psycopg.Connection, released: Made, other: Made, third: Made
) -> None:
    """Publishing a taken-back index makes it a rollback target again."""
    publish(connection, other)
    release.roll_back(connection, COLLECTION)
    again = publish(connection, other)
    publish(connection, third)
    assert release.roll_back(connection, COLLECTION) == again


def test_a_new_release_of_a_changed_target_takes_its_place(
    connection: psycopg.Connection, released: Made, other: Made, third: Made
) -> None:
    """The next rollback goes to what the target itself had replaced."""
    first, second = search.live(connection), publish(connection, other)
    publish(connection, third)
    other.add("00001", version=2)
    judge.judge(connection, other.objects, reconcile(connection, other).index, Wanted(recall=0.9))
    back = release.roll_back(connection, COLLECTION)
    assert (back.id, back.index_id) == (second.id + 2, second.index_id)
    assert release.roll_back(connection, COLLECTION) == first


def test_what_a_rollback_returns_to_is_kept(
    connection: psycopg.Connection, released: Made, other: Made, third: Made
) -> None:
    """An index that was taken back is dropped before one that a rollback may return to."""
    first, taken_back = search.live(connection), publish(connection, other)
    release.roll_back(connection, COLLECTION)
    publish(connection, third)
    assert retire.drop_superseded(connection, COLLECTION, keep=2) == [taken_back.table]
    assert release.roll_back(connection, COLLECTION) == first


def test_a_refused_rollback_takes_nothing_back(
    connection: psycopg.Connection, released: Made, other: Made
) -> None:
    """The release that stays live can still be returned to later."""
    publish(connection, other)
    released.add("00001", version=2)
    reconcile(connection, released)
    with pytest.raises(ReleaseError, match="changed after it was judged"):
        release.roll_back(connection, COLLECTION)
    left = "SELECT count(*) FROM clip_assets.release WHERE taken_back_at IS NOT NULL"
    assert connection.execute(left).fetchone() == (0,)
