"""Searching: full, ordered answers with their lineage, or a clear refusal."""

from dataclasses import replace

import numpy as np
import psycopg
import pytest

from clip_assets.search import search
from clip_assets.search.filters import Filter
from clip_assets.search.nearest import Budget, nearest
from clip_assets.search.search import Lineage
from tests.integration.support import (
    Made,
    both_types,
    clustered,
    exact,
    publish,
    reconcile,
    table_of,
)

QUERY = clustered(1, 77)[0]


@both_types
def test_nearest_first(connection: psycopg.Connection, released: Made) -> None:
    """The answer is the exact one, in its order, with cosine similarities."""
    live = search.live(connection)
    hits = search.search(connection, live, QUERY, 10).hits
    scores = [hit.score for hit in hits]
    assert [hit.image_id for hit in hits] == exact(released.rows(), QUERY, 10)
    assert scores == sorted(scores, reverse=True)
    row = released.rows().column("image_id").to_pylist().index(hits[0].image_id)
    vector = np.array(released.rows().column("embedding")[row].as_py(), np.float32)
    assert hits[0].score == pytest.approx(float(vector @ QUERY), abs=1e-3)


def test_lineage(connection: psycopg.Connection, released: Made) -> None:
    """A hit says which run, job, shard, version, model and device made it, and from which file."""
    released.add("00002", version=2)
    reconcile(connection, released)
    live = search.live(connection)
    rows = {row["image_id"]: row for row in released.rows().to_pylist()}
    for hit in search.search(connection, live, QUERY, 200).hits:
        shard = hit.image_id[:5]
        version = 2 if shard == "00002" else 1
        run = f"run-of-{shard}-v{version}"
        expected = Lineage(run, "job-1", shard, version, released.model.identity.short, "cpu")
        assert hit.lineage == expected
        made_from = (hit.uri, hit.caption, hit.sha256, hit.width, hit.height)
        row = rows[hit.image_id]
        assert made_from == tuple(
            row[name] for name in ("uri", "caption", "sha256", "width", "height")
        )


def test_any_k(connection: psycopg.Connection, released: Made) -> None:
    """An answer has k hits or the whole collection, below and above ef_search."""
    live = search.live(connection)
    assert live.ef_search == 40
    for k in (1, 39, 40, 41, 199, 200, 201, 5_000):
        hits = search.search(connection, live, QUERY, k).hits
        assert len({hit.image_id for hit in hits}) == len(hits) == min(k, 200)


@both_types
def test_what_is_no_query(connection: psycopg.Connection, released: Made) -> None:
    """A vector of another shape or with non-finite values is refused before it reaches Postgres."""
    live = search.live(connection)
    good = np.zeros(32, np.float32)
    for vector in (good[:31], good[None], good[:0], good + np.nan, good - np.inf):
        with pytest.raises(ValueError, match="expected 32 finite numbers, got shape"):
            search.search(connection, live, vector, 10)


@both_types
def test_answers_stay_full_after_a_shard_is_replaced(
    connection: psycopg.Connection, released: Made
) -> None:
    """Dead rows of replaced shards, the nearest ones above all, do not shorten an answer."""
    live = search.live(connection)
    index_rows = clustered(50, 1)
    for version in range(2, 8):
        for shard in released.shards:
            released.add(shard, version=version)
        reconcile(connection, released)
        for query in index_rows[:10]:
            hits = search.search(connection, live, query, 10).hits
            assert len(hits) == 10
            assert {hit.lineage.version for hit in hits} == {version}


@both_types
def test_a_stored_image(connection: psycopg.Connection, released: Made) -> None:
    """An image is found by its id, with its vector and its thumbnail."""
    live = search.live(connection)
    hit = search.image(connection, live, "00001-0003.jpg")
    vector = search.vector_of(connection, live, "00001-0003.jpg")
    assert hit
    assert vector is not None
    assert (hit.score, hit.image_id, hit.lineage.shard) == (1.0, "00001-0003.jpg", "00001")
    assert search.search(connection, live, vector, 1).hits[0].image_id == hit.image_id
    assert search.thumbnail(connection, hit.sha256) == f"webp of {hit.sha256}".encode()


def test_an_image_that_is_not_there(connection: psycopg.Connection, released: Made) -> None:
    """An unknown id, however odd, is None and not an error."""
    live = search.live(connection)
    for name in ("", "nothing.jpg", "'; DROP TABLE x; --", "%s"):
        assert search.image(connection, live, name) is None
        assert search.vector_of(connection, live, name) is None
        assert search.thumbnail(connection, name) is None


def test_settings_stay_inside_a_search(connection: psycopg.Connection, made: Made) -> None:
    """A search leaves the connection's own planner settings as they were."""
    live = publish(connection, made)
    search.search(connection, live, QUERY, 10)
    for name in ("enable_seqscan", "enable_sort"):
        assert connection.execute(f"SHOW {name}").fetchone() == ("on",)


def test_near_ties_are_found_in_their_order(connection: psycopg.Connection, made: Made) -> None:
    """The graph rounds vectors once more than the table, so it confuses images at nearly the same
    distance; some more than k are fetched, and the nearest k of them count."""
    base = clustered(1, 5)[0]
    close = base + 0.2 * clustered(300, 6)
    close /= np.linalg.norm(close, axis=1, keepdims=True)
    made.add("00009", table=table_of([f"{n}.jpg" for n in range(300)], [None] * 300, close))
    publish(connection, made)
    graph = replace(search.live(connection).graph, ef_search=1_000)
    exhaustive = replace(graph, budget=Budget(exact_factor=1e9))
    everything = Filter(min_width=1).predicate()
    wrong = dict.fromkeys((0, Budget().spare), 0)
    for vector in close[:100]:
        right, _ = nearest(connection, exhaustive, vector, 10, everything)
        for spare in wrong:
            found, _ = nearest(connection, replace(graph, budget=Budget(spare=spare)), vector, 10)
            wrong[spare] += found != right
    assert wrong[0] > 0
    assert wrong[Budget().spare] == 0, wrong
