"""Judging: recall against exact search, separately for texts and images, through the index."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psycopg
import pytest

from clip_assets.errors import ReleaseError
from clip_assets.index import build, hnsw, tables
from clip_assets.index.hnsw import EF_SEARCH_LADDER, SHOWN_ONLY
from clip_assets.judge import ground_truth, judge
from clip_assets.judge.evaluation import below
from clip_assets.judge.judgement import Judgement, Rung, Wanted
from clip_assets.release import release
from clip_assets.search import search
from clip_assets.search.nearest import Budget, Graph, plan
from clip_assets.store.objects import Objects
from tests.integration.support import (
    Made,
    both_types,
    build_and_judge,
    clustered,
    find,
    publish,
    reconcile,
    table_of,
)


@both_types
@pytest.mark.all_queries
def test_a_good_index(connection: psycopg.Connection, made: Made) -> None:
    """It reaches the required recall with confidence, through the HNSW, and has no faults."""
    index = reconcile(connection, made).index
    assert build.build(connection, index, 200)
    judgement = judge.judge(connection, made.objects, index, Wanted(recall=0.95))
    reached = judgement.reached
    assert judgement.faults == []
    assert judgement.uses_index
    assert judgement.rows == 200
    assert judgement.ef_search == reached.ef_search == EF_SEARCH_LADDER[0]
    assert tuple(rung.ef_search for rung in judgement.below) == SHOWN_ONLY
    assert (reached.text.queries, reached.image.queries) == (120, 200)
    assert [(f.share, f.plan) for f in reached.filtered] == [(0.5, "exact"), (0.1, "exact")]
    assert all((f.text.mean, f.image.mean) == (1, 1) for f in reached.filtered)
    assert reached.latency
    assert 0 < reached.latency.p50_ms <= reached.latency.p99_ms
    for recall in (reached.text, reached.image):
        assert 0.95 <= recall.lower < recall.mean <= 1
    assert Judgement.model_validate(find(connection, made).judgement) == judgement


def test_the_index_is_built_once(database: str, connection: psycopg.Connection, made: Made) -> None:
    """Of four that build at the same time one does, and a later one finds it done."""
    index = reconcile(connection, made).index

    def build_too(_: int) -> bool:
        with psycopg.connect(database, autocommit=True) as own:
            return build.build(own, index, 200)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(build_too, range(4))) == [False, False, False, True]
    assert not build.build(connection, index, 200)


@pytest.fixture
def sparse_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs with so few links that a search with a small ef_search misses most of the nearest."""
    monkeypatch.setattr(hnsw, "M", 2)


@pytest.mark.all_queries
@pytest.mark.usefixtures("sparse_graphs")
def test_the_smallest_sufficient_ef_search_is_chosen(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    """If a small ef_search is not enough, the next that reaches the required recall is chosen."""
    made = Made(Objects(str(tmp_path / "many")))
    made.add("00000", 3_000)
    index = reconcile(connection, made).index
    build.build(connection, index, 3_000)
    (least,) = judge.judge(connection, made.objects, index, Wanted(recall=1), ladder=(1,)).ladder
    wanted = min(least.text.lower, least.image.lower) + 0.005
    ladder = (1, 2, 200, 400)
    judgement = judge.judge(connection, made.objects, index, Wanted(recall=wanted), ladder)
    *short, reached = judgement.ladder
    assert short
    assert not any(rung.reaches(wanted) for rung in short)
    assert reached.reaches(wanted)
    assert judgement.ef_search == reached.ef_search == ladder[len(short)]


@pytest.mark.promise("No release without measured recall")
@pytest.mark.all_queries
def test_a_poor_index_is_not_published(
    connection: psycopg.Connection, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """An index with few links, limited to ef_search 1, is refused with its recall; the live release
    stays."""
    made = Made(Objects(str(tmp_path / "many")))
    made.add("00000", 1_000)
    before = publish(connection, made)
    made.add("00001", 2_000)
    index = reconcile(connection, made).index
    request.getfixturevalue("sparse_graphs")
    connection.execute(f"DROP INDEX IF EXISTS clip_assets.{index.hnsw}".encode())
    build.build(connection, index, 3_000)
    judgement = judge.judge(connection, made.objects, index, Wanted(recall=0.99), ladder=(1,))
    assert judgement.faults
    with pytest.raises(ReleaseError, match=r"recall@10 of \w+ queries is 0\.\d+.* ef_search 1,"):
        release.publish(connection, find(connection, made), "run-2")
    assert search.live(connection) == before


@pytest.mark.all_queries
def test_the_narrowest_filter(connection: psycopg.Connection, tmp_path: Path) -> None:
    """If a share of 0.1 % is at least ten images, recall under that filter is judged too."""
    made = Made(Objects(str(tmp_path / "many")))
    made.add("00000", 10_000)
    judgement = Judgement.model_validate(publish(connection, made).judgement)
    found = {one.share: one for one in judgement.reached.filtered}
    assert tuple(found) == judge.SHARES == (0.5, 0.1, 0.01, 0.001)
    assert found[0.5].plan == "hnsw"
    assert found[0.001].plan == "exact"
    for narrow in (found[0.01], found[0.001]):
        assert (narrow.text.mean, narrow.image.mean) == (1, 1)
        assert min(narrow.text.queries, narrow.image.queries) >= 30


@pytest.mark.promise("No release without measured recall")
@pytest.mark.all_queries
def test_low_recall_under_a_filter_is_not_published(
    connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If recall is high enough without a filter but not with one, larger ef_search are tried;
    the index is refused if none is enough."""
    made = Made(Objects(str(tmp_path / "many")))
    made.add("00000", 2_000)
    index = reconcile(connection, made).index
    build.build(connection, index, 2_000)
    blind = Budget(exact_factor=0, overfetch=1, scan_tuples=1, rescue_rows=0)
    monkeypatch.setattr(judge, "Graph", partial(Graph, budget=blind))
    judgement = judge.judge(connection, made.objects, index, Wanted(recall=0.9), ladder=(40, 64))
    assert [rung.ef_search for rung in judgement.ladder] == [40, 64]
    assert all(rung.reaches_unfiltered(0.9) for rung in judgement.ladder)
    assert [f.plan for f in judgement.reached.filtered] == ["hnsw"] * 3
    with pytest.raises(ReleaseError, match=r"queries under a filter that 1\.0% match is 0\."):
        release.publish(connection, find(connection, made), "run-1")


@both_types
def test_ground_truth_equals_exact_search_in_postgres(
    connection: psycopg.Connection, made: Made
) -> None:
    """The exact distances of one pass in numpy are those of Postgres' own exact search, for all
    rows and for a share of them."""
    index = reconcile(connection, made).index
    queries = clustered(5, 123)
    for share, ours in zip(
        (1.0, 0.1),
        ground_truth.nearest_distances(connection, index, queries, (1.0, 0.1), 30),
        strict=True,
    ):
        for query, distances in zip(queries, ours, strict=True):
            rows = connection.execute(
                f"SELECT embedding <=> %s::{made.vector_type} AS distance "  # type: ignore[arg-type]
                f"FROM clip_assets.images_{index.index_id} "
                "WHERE sha256 < %s ORDER BY distance LIMIT 30",
                [str(query.tolist()), below(share).values["below"] if share < 1 else "g"],
            ).fetchall()
            theirs = [row[0] for row in rows]
            assert distances[: len(theirs)] == pytest.approx(theirs, abs=2e-6)
            assert np.isinf(distances[len(theirs) :]).all()


def test_a_plan_without_the_hnsw_is_a_fault(connection: psycopg.Connection, made: Made) -> None:
    """Exact recall from a scan of the table is not a pass: the plan must use the index."""
    index = reconcile(connection, made).index
    judgement = judge.judge(connection, made.objects, index, Wanted(recall=0.95))
    assert judgement.faults == ["the planner does not use the HNSW index for a search"]


def test_an_unjudged_index_is_refused(connection: psycopg.Connection, made: Made) -> None:
    """An index that was never judged cannot be published."""
    index = reconcile(connection, made).index
    with pytest.raises(ReleaseError, match="Materialize `search_index`"):
        release.publish(connection, index, "run-2")


def test_a_change_after_judging_is_refused(connection: psycopg.Connection, made: Made) -> None:
    """A shard that was loaded after the judgement must be judged before it is published."""
    build_and_judge(connection, made)
    made.add("00001", version=2)
    reconcile(connection, made)
    with pytest.raises(ReleaseError, match="changed after it was judged"):
        release.publish(connection, find(connection, made), "run-2")


def test_a_change_while_judging_is_refused(
    connection: psycopg.Connection, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard that another process loads in the middle of the measurement counts as a change."""
    index = reconcile(connection, made).index
    build.build(connection, index, 200)
    measure = judge._climb

    def measure_then_change(*arguments: object) -> list[Rung]:
        rungs = measure(*arguments)  # type: ignore[arg-type]
        made.add("00001", version=2)
        reconcile(connection, made)
        return rungs

    monkeypatch.setattr(judge, "_climb", measure_then_change)
    judge.judge(connection, made.objects, index, Wanted(recall=0.9))
    with pytest.raises(ReleaseError, match="changed after it was judged"):
        release.publish(connection, find(connection, made), "run-2")


@pytest.mark.parametrize("rows", [1, 2, 12, 40])
def test_a_small_collection_can_be_released(
    connection: psycopg.Connection, tmp_path: Path, rows: int
) -> None:
    """A few perfect queries pass, although they are too few to prove the required recall."""
    made = Made(Objects(str(tmp_path / "few")))
    made.add("00000", rows)
    index = build_and_judge(connection, made, 0.95)
    live, moved = release.publish(connection, index, "run-1")
    assert moved
    query = clustered(1, 99)[0]
    assert len(search.search(connection, live, query, 10).hits) == min(rows, 10)


def test_many_copies_of_one_image(connection: psycopg.Connection, tmp_path: Path) -> None:
    """Which of two equal images is found makes no difference to recall."""
    made = Made(Objects(str(tmp_path / "copies")))
    vectors = np.repeat(clustered(10, 1), 30, axis=0)
    ids = [f"{number:04d}" for number in range(len(vectors))]
    made.add("00000", table=table_of(ids, [None] * len(ids), vectors))
    index = build_and_judge(connection, made, 0.95)
    assert Judgement.model_validate(index.judgement).faults == []


def test_an_index_without_images_is_refused(connection: psycopg.Connection, tmp_path: Path) -> None:
    """The error for an index without images says what to fix."""
    made = Made(Objects(str(tmp_path / "none")))
    made.add("00000", 0)
    with pytest.raises(ReleaseError, match="no images"):
        build_and_judge(connection, made)


def test_captions_find_their_images(connection: psycopg.Connection, tmp_path: Path) -> None:
    """caption_recall is the share of captions with their own image among the first ten."""
    made = Made(Objects(str(tmp_path / "photos")))
    made.add("00000", 200)
    index = reconcile(connection, made).index
    build.build(connection, index, 200)
    judgement = judge.judge(connection, made.objects, index, Wanted(recall=0.9))
    assert judgement.caption_queries == 30
    assert judgement.caption_recall is not None
    assert judgement.caption_recall < 0.6, "made-up texts have nothing to do with their images"


@both_types
def test_searches_use_the_plan_that_was_judged(
    connection: psycopg.Connection, released: Made
) -> None:
    """The statement that searches run, settings and all, goes through the HNSW too."""
    live = search.live(connection)
    lines = plan(connection, live.graph, clustered(1, 5)[0], 10)
    assert any(find(connection, released).hnsw in line for line in lines)


def test_index_names(made: Made) -> None:
    """Table and HNSW are named after the index, so two models never share one."""
    identity, spec = made.model.identity, made.model.spec
    index = tables.Index(7, "photos", identity, spec, made.vector_type, "public", None, {})
    assert (index.hnsw, replace(index, index_id=8).hnsw) == ("images_7_hnsw", "images_8_hnsw")
