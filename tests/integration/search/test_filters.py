"""Filters: k rows if k match, exact results if few match, and a flag if the search was cut off."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psycopg
import pytest

from clip_assets.index import filter_indexes
from clip_assets.search import search
from clip_assets.search.filters import Filter
from clip_assets.search.nearest import Budget, few_match, nearest
from clip_assets.search.search import Release
from clip_assets.store.objects import Objects
from tests.integration.support import (
    Made,
    clustered,
    exact,
    find,
    matrix,
    publish,
    reconcile,
    table_of,
)

QUERY = clustered(1, 77)[0]
ROWS = 3_000
WALK = Budget(exact_factor=0)


@dataclass(frozen=True)
class Many:
    """A live collection that no test changes."""

    connection: psycopg.Connection
    made: Made
    live: Release


@pytest.fixture(scope="module")
def many(
    new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Many]:
    """Three thousand images in two folders of two shards; every third has a caption."""
    made = Made(Objects(str(tmp_path_factory.mktemp("many"))))
    for number in range(2):
        half = ROWS // 2
        ids = [f"{'cats' if row % 10 else 'a_b%c'}/{number}-{row:04d}.jpg" for row in range(half)]
        captions = [f"Red heart, No. {row % 50}" if row % 3 == 0 else None for row in range(half)]
        table = table_of(ids, captions, clustered(half, number), salt=str(number))
        made.add(f"{number:05d}", table=table)
    with psycopg.connect(new_database(), autocommit=True) as connection:
        yield Many(connection, made, publish(connection, made))


PARTS: list[tuple[dict[str, object], Callable[[dict[str, object]], bool]]] = [
    ({"shards": ["00001"]}, lambda row: str(row["image_id"])[-11:].find("1-") >= 0),
    ({"uri_prefix": "/pictures/a_b%c/"}, lambda row: str(row["uri"]).startswith("/pictures/a_b%c")),
    ({"uri_prefix": "/pictures/cats/0-00"}, lambda row: "cats/0-00" in str(row["uri"])),
    ({"words": "HEART 7"}, lambda row: str(row["caption"]).endswith("No. 7")),
    ({"words": "red"}, lambda row: row["caption"] is not None),
    ({"min_width": 100, "max_width": 180}, lambda row: 100 <= int(str(row["width"])) <= 180),
    ({"min_height": 30, "max_height": 30}, lambda row: True),
    ({"min_height": 31}, lambda row: False),
    (
        {"words": "red", "uri_prefix": "/pictures/cats", "min_width": 900},
        lambda row: (
            row["caption"] is not None
            and "cats" in str(row["uri"])
            and int(str(row["width"])) >= 900
        ),
    ),
]


@pytest.mark.promise("A filtered search finds k images if k match")
@pytest.mark.parametrize(("only", "passes"), PARTS, ids=[json.dumps(only) for only, _ in PARTS])
def test_each_filter_returns_only_matching_images(
    many: Many,
    only: dict[str, object],
    passes: Callable[[dict[str, object]], bool],
) -> None:
    """Both plans return only matching images, k of them or all that match; exact search returns the
    exact nearest."""
    connection, live = many.connection, many.live
    table = many.made.rows()
    keep = [passes(row) for row in table.drop_columns(["embedding", "thumbnail"]).to_pylist()]
    matching = table.filter(keep)
    right = exact(matching, QUERY, 10) if len(matching) else []
    predicate = Filter.model_validate(only).predicate()
    for budget in (Budget(exact_factor=1e9), WALK, Budget()):
        graph = replace(live.graph, budget=budget)
        rows, complete = nearest(connection, graph, QUERY, 10, predicate)
        names = [row.image_id for row in rows]
        assert complete
        assert len(names) == min(10, len(matching))
        assert set(names) <= set(matching.column("image_id").to_pylist())
        if budget.exact_factor:
            assert names == right
    hits = search.search(connection, live, QUERY, 10, Filter.model_validate(only))
    assert [hit.image_id for hit in hits.hits] == right


def test_an_empty_filter_matches_everything(many: Many) -> None:
    """An empty filter is no filter."""
    connection, live = many.connection, many.live
    hits = search.search(connection, live, QUERY, 10, Filter())
    assert hits == search.search(connection, live, QUERY, 10)
    assert hits.complete


def test_relaxed_order_is_sorted_again(many: Many) -> None:
    """pgvector's relaxed order is not quite the order: of several that a walk met, the nearest
    counts, not the first, and so more of the nearest are found at the same ef_search."""
    only = Filter(uri_prefix="/pictures/cats/").predicate()  # many match, so the graph is walked
    found = {1: 0, 4: 0}
    exhaustive = replace(many.live.graph, budget=Budget(exact_factor=1e9))
    for number in range(300):
        query = clustered(1, 900 + number)[0]
        right, _ = nearest(many.connection, exhaustive, query, 1, only)
        for overfetch in found:
            budget = Budget(exact_factor=0, overfetch=overfetch)
            graph = replace(many.live.graph, ef_search=2, budget=budget)
            rows, _ = nearest(many.connection, graph, query, 1, only)
            found[overfetch] += rows[0].image_id == right[0].image_id
    assert found[1] < found[4] <= 300, found


def test_the_plan_depends_on_the_estimate(many: Many) -> None:
    """A filter that few rows pass uses exact search, one that most pass uses HNSW search."""
    connection, live = many.connection, many.live
    graph = replace(live.graph, budget=Budget(exact_factor=5))  # 273 of 3,000
    narrow, wide = (
        Filter(words="heart 7").predicate(),
        Filter(uri_prefix="/pictures/cats").predicate(),
    )
    assert narrow
    assert wide
    assert few_match(connection, graph, narrow)
    assert not few_match(connection, graph, wide)


def test_a_low_estimate_is_checked_by_counting(many: Many) -> None:
    """If the planner expects few matches, rows are counted; if many match, HNSW search is used."""
    connection, live = many.connection, many.live
    graph = replace(live.graph, budget=Budget(exact_factor=10, rescue_rows=900))  # 548 of 3,000
    blind = Filter(words="red").predicate()  # a third of all
    with connection.transaction(force_rollback=True):
        connection.execute(
            "DELETE FROM pg_statistic USING pg_index "
            "WHERE indrelid = %s::regclass AND starelid IN (indrelid, indexrelid)",
            [f"clip_assets.{live.table}"],
        )
        assert not few_match(connection, graph, blind)
        graph = replace(graph, budget=replace(graph.budget, rescue_rows=1_000))
        assert few_match(connection, graph, blind)


def test_a_scan_of_dead_rows_falls_back_or_is_incomplete(many: Many) -> None:
    """If dead rows use up the budget, exact search follows or the result is marked incomplete."""
    connection, live = many.connection, many.live
    farthest = exact(many.made.rows(), QUERY, ROWS)[-20:]
    with connection.transaction(force_rollback=True):
        connection.execute(
            f"DELETE FROM clip_assets.{live.table} WHERE image_id <> ALL (%s)",  # type: ignore[arg-type]
            [farthest],
        )
        short = replace(live.graph, budget=Budget(scan_tuples=1, rescue_rows=19))
        rows, complete = nearest(connection, short, QUERY, 10)
        assert len(rows) < 10
        assert not complete
        enough = replace(short, budget=replace(short.budget, rescue_rows=20))
        rows, complete = nearest(connection, enough, QUERY, 10)
        assert [row.image_id for row in rows] == farthest[:10]
        assert complete


def test_incomplete_results_are_marked(connection: psycopg.Connection, tmp_path: Path) -> None:
    """If the budget ends before k are found, exact search follows; with too many matching rows for
    that, the result is marked incomplete."""
    made = Made(Objects(str(tmp_path / "far")))
    near = np.tile(QUERY, (ROWS, 1)) + 0.3 * clustered(ROWS, 5)
    near[:200] = -QUERY + 0.3 * clustered(200, 6)  # what the filter wants lies on the other side
    vectors = np.asarray(near / np.linalg.norm(near, axis=1, keepdims=True), np.float32)
    names = [f"{'far' if row < 200 else 'near'}/{row:04d}.jpg" for row in range(ROWS)]
    made.add("00000", table=table_of(names, [None] * ROWS, vectors))
    live = publish(connection, made)
    far = Filter(uri_prefix="/pictures/far/").predicate()
    short = replace(live.graph, budget=Budget(exact_factor=0, scan_tuples=50, rescue_rows=199))
    rows, complete = nearest(connection, short, QUERY, 10, far)
    assert len(rows) < 10
    assert not complete
    enough = replace(short, budget=replace(short.budget, rescue_rows=200))
    rows, complete = nearest(connection, enough, QUERY, 10, far)
    scores = np.sort(matrix(made.rows().slice(0, 200)) @ QUERY)[::-1]
    assert [row.score for row in rows] == pytest.approx(scores[:10].tolist(), abs=1e-3)
    assert complete


def test_an_index_for_each_column(many: Many) -> None:
    """Each narrow filter is answered through an index, not by reading the table."""
    connection, live = many.connection, many.live
    narrow = [
        Filter(shards=("00001",)), Filter(uri_prefix="/pictures/a_b%c/0-00"),
        Filter(words="heart 7"), Filter(min_width=1_500), Filter(min_height=31),
    ]  # fmt: skip
    for only in narrow:
        predicate = only.predicate()
        assert predicate
        with connection.transaction():
            connection.execute("SET LOCAL enable_seqscan = off")
            explain = "EXPLAIN SELECT FROM clip_assets.images_{} WHERE {}"
            lines = connection.execute(
                explain.format(live.index_id, predicate.condition),  # type: ignore[arg-type]
                predicate.values,
            ).fetchall()
        plan = "\n".join(line for (line,) in lines)
        assert "Index Cond" in plan, plan


def test_missing_filter_indexes_are_created(connection: psycopg.Connection, released: Made) -> None:
    """An index of an older version gets them at its next build, once."""
    index = find(connection, released)
    connection.execute(f"DROP INDEX clip_assets.images_{index.index_id}_uri")
    for _ in range(2):
        filter_indexes.ensure_indexes(connection, index)
    names = connection.execute(
        "SELECT indexname FROM pg_indexes WHERE tablename = %s", [f"images_{index.index_id}"]
    ).fetchall()
    assert {f"images_{index.index_id}_{name}" for name in filter_indexes.INDEXES} <= {
        n for (n,) in names
    }


@pytest.mark.promise("A filtered search finds k images if k match")
def test_replaced_shards_leave_filters_full(connection: psycopg.Connection, released: Made) -> None:
    """Dead rows of replaced shards do not shorten a filtered answer."""
    live = search.live(connection)
    for version in range(2, 6):
        for shard in released.shards:
            released.add(shard, version=version)
        reconcile(connection, released)
    graph = replace(live.graph, budget=WALK)
    for query in matrix(released.rows())[:5]:
        only = Filter(shards=("00002",)).predicate()
        rows, complete = nearest(connection, graph, query, 10, only)
        assert (len(rows), complete) == (10, True)
        assert {(row.shard, row.version) for row in rows} == {("00002", 5)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"caption": "x"}, {"min_width": -1}, {"min_width": 2**31}, {"shards": []},
        {"uri_prefix": ""}, {"words": "a\0b"}, {"min_width": "wide"}, {"sql": "true"},
    ],
)  # fmt: skip
def test_invalid_filters_are_refused(wrong: dict[str, object]) -> None:
    """Columns that are not on the list, and values that are none, are refused before any SQL."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Filter.model_validate(wrong)


@pytest.mark.parametrize("text", ["'; DROP TABLE x; --", "%s %(k)s {table}", "\\", "a & | ! b:*"])
def test_filter_values_are_never_run_as_sql(
    connection: psycopg.Connection, released: Made, text: str
) -> None:
    """Filter values are bound as values, never executed."""
    live = search.live(connection)
    for only in (Filter(words=text), Filter(uri_prefix=text), Filter(shards=(text,))):
        hits = search.search(connection, live, QUERY, 10, only)
        assert (hits.hits, hits.complete) == ((), True)
