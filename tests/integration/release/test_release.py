"""The release moves atomically: readers see all of the old one or all of the new one."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import psycopg
import pytest

from clip_assets.errors import ReleaseError
from clip_assets.index import tables
from clip_assets.judge import judge
from clip_assets.judge.judgement import Wanted
from clip_assets.release import release
from clip_assets.search import search
from clip_assets.search.filters import Filter
from clip_assets.search.search import Release
from tests.integration.support import (
    COLLECTION,
    Made,
    build_and_judge,
    clustered,
    find,
    publish,
    reconcile,
)

MOVES = 20


def test_publish(connection: psycopg.Connection, made: Made) -> None:
    """The live release has its judgement and how to load its model."""
    index = build_and_judge(connection, made)
    live, moved = release.publish(connection, index, "run-7")
    assert moved
    assert live == search.live(connection, COLLECTION) == search.live(connection)
    assert (live.collection, live.index_id, live.run_id) == (COLLECTION, index.index_id, "run-7")
    assert (live.spec, live.identity) == (made.model.spec, made.model.identity)
    assert live.judgement["content"] == live.content
    assert live.rows == 200


def test_publishing_the_same_content_changes_nothing(
    connection: psycopg.Connection, released: Made
) -> None:
    """Publishing content that is already live makes no new release."""
    live = search.live(connection)
    again = release.publish(connection, find(connection, released), "run-2")
    assert again == (live, False)


def test_rollback_and_publish_can_alternate(
    connection: psycopg.Connection, released: Made, other: Made
) -> None:
    """A rollback returns to the previous model and publishing goes forward again, repeatedly."""
    first = search.live(connection)
    for _ in range(2):
        forward = publish(connection, other)
        assert forward.identity == other.model.identity
        back = release.roll_back(connection, COLLECTION)
        assert (back.index_id, back.identity) == (first.index_id, first.identity)
        assert search.live(connection) == back


def test_a_rollback_skips_releases_of_the_same_index(
    connection: psycopg.Connection, released: Made, other: Made
) -> None:
    """Two releases of one index share its rows; a rollback goes to the model before both."""
    first = search.live(connection)
    publish(connection, other)
    other.add("00001", version=2)
    publish(connection, other)
    assert release.roll_back(connection, COLLECTION) == first


def test_a_rollback_to_a_changed_index_is_judged(
    connection: psycopg.Connection, released: Made, other: Made
) -> None:
    """Rows that were never live are judged before a rollback shows them, and make a new release."""
    first = search.live(connection)
    live = publish(connection, other)
    released.add("00001", version=2)
    index = reconcile(connection, released).index
    with pytest.raises(ReleaseError, match="changed after it was judged"):
        release.roll_back(connection, COLLECTION)
    assert search.live(connection) == live
    judge.judge(connection, released.objects, index, Wanted(recall=1, caption_recall=1))
    with pytest.raises(ReleaseError, match="Not published: captions"):
        release.roll_back(connection, COLLECTION)
    assert search.live(connection) == live
    judge.judge(connection, released.objects, index, Wanted(recall=0.9))
    back = release.roll_back(connection, COLLECTION)
    assert (back.id, back.index_id) == (live.id + 1, first.index_id)
    assert back.content == tables.content(connection, index.index_id) != first.content


def test_the_first_release_cannot_be_rolled_back(
    connection: psycopg.Connection, released: Made
) -> None:
    """A rollback of the first release is refused, and it stays live."""
    live = search.live(connection)
    with pytest.raises(ReleaseError, match="no earlier release of another index"):
        release.roll_back(connection, COLLECTION)
    assert search.live(connection) == live


def test_searching_before_the_first_release(connection: psycopg.Connection) -> None:
    """Before the first release, the error says what to do."""
    with pytest.raises(ReleaseError, match="Nothing is released yet for photos"):
        search.live(connection, COLLECTION)


def test_several_live_collections_need_a_name(
    connection: psycopg.Connection, released: Made
) -> None:
    """With two collections live, a search must name one."""
    connection.execute(
        "INSERT INTO clip_assets.live SELECT 'zoo', release_id FROM clip_assets.live"
    )
    with pytest.raises(ReleaseError, match="Several collections are live: photos, photos"):
        search.live(connection)


def test_two_publish_at_once(
    database: str, connection: psycopg.Connection, made: Made, other: Made
) -> None:
    """Runs that publish at the same moment take turns; none fails."""
    indexes = [build_and_judge(connection, made), build_and_judge(connection, other)] * 3

    def publish_one(number: int) -> None:
        with psycopg.connect(database, autocommit=True) as own:
            release.publish(own, indexes[number], f"run-{number}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(publish_one, range(6)))
    assert search.live(connection).run_id.startswith("run-")


def test_a_switch_under_load(
    database: str, connection: psycopg.Connection, released: Made, other: Made
) -> None:
    """While the release moves between two models, eight searchers get full answers only, each
    the one that its model gives in quiet; some ask under a filter."""
    queries = {32: clustered(1, 5)[0], 48: clustered(1, 5, 48)[0]}
    filters = [None, Filter(shards=("00001", "00002"))]

    def ask(own: psycopg.Connection, live: Release, only: Filter | None) -> list[str]:
        found = search.search(own, live, queries[live.identity.dim], 10, only)
        return [hit.image_id for hit in found.hits]

    in_quiet = {
        (live.index_id, only): ask(connection, live, only)
        for live in (search.live(connection), publish(connection, other))
        for only in filters
    }
    assert len({tuple(answer) for answer in in_quiet.values()}) == len(in_quiet)
    answers: Counter[tuple[int, str]] = Counter()
    wrong: Counter[str] = Counter()

    def search_on(stop: threading.Event) -> None:
        only = cycle(filters)
        with psycopg.connect(database, autocommit=True) as own:
            while not stop.is_set():
                chosen = next(only)
                try:
                    live = search.live(own, COLLECTION)
                    answer = ask(own, live, chosen)
                except psycopg.Error as error:
                    wrong[f"failed: {error}"] += 1
                    continue
                wrong["short or empty"] += len(answer) < 10
                wrong["mixed"] += answer != in_quiet[live.index_id, chosen]
                answers[live.id, live.identity.name] += 1

    _during_moves(connection, [released, other], [search_on] * 8,
                  lambda live: answers[live.id, live.identity.name])  # fmt: skip
    print(f"{sum(answers.values())} answers of {len(answers)} releases; wrong: {dict(wrong)}")
    for (number, model), count in sorted(answers.items()):
        print(f"release {number:3d} by {model:8s} {count:6d} answers")
    assert not +wrong
    assert len(answers) >= MOVES


def test_a_switch_under_sql(
    connection: psycopg.Connection,
    as_reader: Callable[[], psycopg.Connection],
    released: Made,
    other: Made,
) -> None:
    """Analysts who query the view and the functions meanwhile see one model at a time, whole."""
    publish(connection, other)
    counted: Counter[str] = Counter()

    def query_on(stop: threading.Event) -> None:
        own = as_reader()
        while not stop.is_set():
            rows = own.execute(
                "SELECT model, count(*), count(DISTINCT vector_dims(embedding)) "
                "FROM photos.images GROUP BY model"
            ).fetchall()
            assert [row[1:] for row in rows] == [(200, 1)]
            similar = own.execute("SELECT * FROM photos.similar('00000-0001.jpg', 10)").fetchall()
            assert len(similar) == 10
            counted[rows[0][0]] += 1

    _during_moves(connection, [released, other], [query_on] * 4,
                  lambda live: counted[live.identity.name])  # fmt: skip
    assert set(counted) == {"made-up", "second"}


def _during_moves(
    connection: psycopg.Connection,
    models: list[Made],
    work: list[Callable[[threading.Event], None]],
    answers: Callable[[Release], int],
) -> None:
    """Move the release to and fro, and wait after each move for an answer of the new one."""
    stop = threading.Event()
    indexes = [find(connection, made) for made in models]
    with ThreadPoolExecutor(len(work)) as pool:
        running = [pool.submit(one, stop) for one in work]
        try:
            for number in range(MOVES):
                live, _ = release.publish(connection, indexes[number % 2], f"run-{number}")
                before = answers(live)
                while answers(live) == before and not any(one.done() for one in running):
                    threading.Event().wait(0.002)
        finally:
            stop.set()
        for one in running:
            one.result()
