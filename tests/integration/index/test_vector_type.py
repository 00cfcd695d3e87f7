"""A collection's `vector_type`: a change of it is a release like any other, there and back."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import psycopg
import pytest

from clip_assets.errors import DatabaseError
from clip_assets.index import integrity, tables
from clip_assets.index.vector_type import VectorType
from clip_assets.judge.comparison import Comparison
from clip_assets.release import release
from clip_assets.search import search
from clip_assets.search.nearest import plan
from clip_assets.status import is_live
from tests.integration.support import (
    COLLECTION,
    Made,
    both_types,
    clustered,
    exact,
    find,
    matrix,
    publish,
    reconcile,
    table_of,
)

QUERY = clustered(1, 77)[0]
SCANS = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = %s"


@pytest.fixture
def wide(released: Made) -> Made:
    """The live collection's own files, to be stored as vector."""
    return replace(released, vector_type=VectorType.VECTOR)


def _answer(connection: psycopg.Connection) -> list[str]:
    found = search.search(connection, search.live(connection), QUERY, 10)
    return [hit.image_id for hit in found.hits]


def _by_sql(connection: psycopg.Connection, k: int = 10) -> list[str]:
    query = "SELECT image_id FROM photos.search(%s::halfvec, %s)"
    return [name for (name,) in connection.execute(query, [str(QUERY.tolist()), k])]


def test_switching_the_vector_type_and_back(
    connection: psycopg.Connection, released: Made, wide: Made
) -> None:
    """Another type is loaded into an index of its own beside the live one. Whichever is live, by
    release or by rollback, answers are the same, and nothing is loaded twice."""
    right = exact(released.rows(), QUERY, 10)
    halves = search.live(connection)
    assert (halves.vector_type, _answer(connection)) == (VectorType.HALFVEC, right)
    done = reconcile(connection, wide)
    assert (done.loaded, done.index.vector_type) == (wide.shards, VectorType.VECTOR)
    assert search.live(connection) == halves, "nothing moves before it is published"
    for _ in range(2):
        live = publish(connection, wide)
        assert (live.vector_type, live.index_id) == (VectorType.VECTOR, done.index.index_id)
        assert _answer(connection) == _by_sql(connection) == right
        back = release.roll_back(connection, COLLECTION)
        assert (back.vector_type, back.index_id) == (VectorType.HALFVEC, halves.index_id)
        assert _answer(connection) == _by_sql(connection) == right
        publish(connection, wide)
        again = publish(connection, released)
        assert again.index_id == halves.index_id
        assert reconcile(connection, released).loaded == reconcile(connection, wide).loaded == []


def test_vector_stores_exact_numbers(connection: psycopg.Connection, wide: Made) -> None:
    """An index of vector holds the committed numbers to the bit, and scores to match."""
    live = publish(connection, wide)
    stored = search.vector_of(connection, live, "00001-0003.jpg")
    assert stored is not None
    assert np.array_equal(stored, matrix(wide.rows())[53])
    best = search.search(connection, live, QUERY, 1).hits[0]
    assert best.score == pytest.approx(float((matrix(wide.rows()) @ QUERY).max()), abs=1e-6)


def test_each_is_found_by_its_type(connection: psycopg.Connection, released: Made) -> None:
    """With a type, its index is found; without, the newest. The live index is identified by both
    model and type."""
    slug = released.model.spec.slug
    with pytest.raises(DatabaseError, match=f"photos has no vector index for {slug} yet"):
        tables.find(connection, COLLECTION, slug, VectorType.VECTOR)
    assert not is_live(connection, COLLECTION, slug, VectorType.VECTOR)
    wide = replace(released, vector_type=VectorType.VECTOR)
    publish(connection, wide)
    halves, vectors = find(connection, released), find(connection, wide)
    assert [halves.vector_type, vectors.vector_type] == [*VectorType]
    assert tables.find(connection, COLLECTION, slug) == vectors
    live = {kind: is_live(connection, COLLECTION, slug, kind) for kind in VectorType}
    assert live == {VectorType.HALFVEC: False, VectorType.VECTOR: True}


def test_the_comparison_shows_the_vector_type(connection: psycopg.Connection, wide: Made) -> None:
    """The same model stands in both columns, with the type, and the larger table, of each."""
    comparison = Comparison.model_validate(publish(connection, wide).comparison)
    assert comparison.live
    assert comparison.overlap
    assert (comparison.overlap.text, comparison.overlap.image) == (1.0, 1.0)
    assert "| vector type | vector | halfvec |" in comparison.markdown
    assert comparison.candidate.judgement.hnsw_bytes > comparison.live.judgement.hnsw_bytes
    kinds = "SELECT vector_type FROM photos.releases ORDER BY release_id"
    assert connection.execute(kinds).fetchall() == [("halfvec",), ("vector",)]


@both_types
def test_searches_walk_the_hnsw(
    connection: psycopg.Connection, released: Made, vector_type: VectorType
) -> None:
    """From Python and from SQL alike: no cast keeps the column from its index."""
    index = find(connection, released)
    assert index.vector_type == vector_type
    lines = plan(connection, search.live(connection).graph, QUERY, 10)
    assert any(index.hnsw in line for line in lines)
    before = _scans(connection, index.hnsw)
    assert _by_sql(connection) == exact(released.rows(), QUERY, 10)
    assert _scans(connection, index.hnsw) == before + 1


def _scans(connection: psycopg.Connection, hnsw: str) -> int:
    connection.execute("SELECT pg_stat_force_next_flush()")
    found = connection.execute(SCANS, [hnsw]).fetchone()
    assert found
    return int(found[0])


def test_sql_keeps_its_types(
    connection: psycopg.Connection,
    as_reader: Callable[[], psycopg.Connection],
    released: Made,
    wide: Made,
) -> None:
    """A user's view over `images` survives a change of the type, and what it joins with `search`
    still fits: vectors come and go as halfvec."""
    connection.execute(
        "CREATE VIEW public.mine AS SELECT embedding, (SELECT count(*) FROM "
        "photos.search(embedding, 3)) AS found FROM photos.images WHERE row = 0"
    )
    connection.execute("GRANT SELECT ON public.mine TO clip_reader")
    asked = "SELECT pg_typeof(embedding)::text, found FROM public.mine"
    reader = as_reader()
    before = reader.execute(asked).fetchall()
    publish(connection, wide)
    assert reader.execute(asked).fetchall() == before == [("halfvec", 3)] * 4


def test_a_number_out_of_range_for_halfvec(connection: psycopg.Connection, made: Made) -> None:
    """What 16 bits cannot hold is refused by halfvec, and stored by vector as it is."""
    vectors = clustered(2, 1)
    vectors[1, 5] = 1e6
    made.add("00004", table=table_of(["a", "b"], [None] * 2, vectors))
    with pytest.raises(psycopg.DataError, match="infinite value not allowed in halfvec"):
        reconcile(connection, made)
    index = reconcile(connection, replace(made, vector_type=VectorType.VECTOR)).index
    assert integrity.damaged_shards(connection, index) == ()
