"""Declared columns: filtered by value, range and absence; in hits, in SQL and described."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from clip_assets.column import ColumnType
from clip_assets.errors import FilterError
from clip_assets.search import search
from clip_assets.search.columns import declared_columns
from clip_assets.search.filters import Filter
from clip_assets.search.nearest import Budget, few_match, nearest
from clip_assets.search.search import Release
from clip_assets.store import parquet
from clip_assets.store.objects import Objects
from tests.integration.support import (
    Made,
    clustered,
    exact,
    find,
    image_table,
    matrix,
    publish,
    reconcile,
    table_of,
)

ROWS = 3_000
QUERY = clustered(1, 77)[0]
TYPES = {
    "label": ColumnType.TEXT,
    "stock": ColumnType.BIGINT,
    "price": ColumnType.DOUBLE,
    "sold": ColumnType.BOOLEAN,
    "taken_at": ColumnType.TIMESTAMP,
    "day": ColumnType.DATE,
}
LABELS = ("dog", "cat", 'zoë\'s "house" %s')


def known(row: int) -> dict[str, Any]:
    """What is known of an image; every seventh has no price, and one in a thousand is rare."""
    when = datetime(1999, 12, 25) + timedelta(hours=row)
    return {
        "label": "rare" if row % 1_000 == 500 else LABELS[row % 3],
        "stock": row - 10,
        "price": row / 8 if row % 7 else None,
        "sold": row % 2 == 0,
        "taken_at": when,
        "day": when.date(),
    }


def with_columns(table: pa.Table, rows: list[dict[str, Any]]) -> pa.Table:
    for name, kind in TYPES.items():
        values = pa.array([row[name] for row in rows], parquet.ARROW_TYPES[kind])
        table = table.append_column(name, values)
    return table


@dataclass(frozen=True)
class Many:
    """A live collection that no test changes; `rows` are its images with what is known of them."""

    connection: psycopg.Connection
    made: Made
    live: Release
    rows: list[dict[str, Any]]


@pytest.fixture(scope="module")
def many(
    new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Many]:
    made = Made(Objects(str(tmp_path_factory.mktemp("many"))), columns=TYPES)
    rows = [known(row) for row in range(ROWS)]
    ids = [f"{row:04d}.jpg" for row in range(ROWS)]
    table = with_columns(table_of(ids, [None] * ROWS, clustered(ROWS, 1)), rows)
    made.add("00000", table=table)
    with psycopg.connect(new_database(), autocommit=True) as connection:
        named = [{"image_id": name, **row} for name, row in zip(ids, rows, strict=True)]
        yield Many(connection, made, publish(connection, made), named)


FILTERS: list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
    ({"label": "dog"}, lambda row: row["label"] == "dog"),
    ({"label": LABELS[2]}, lambda row: row["label"] == LABELS[2]),
    ({"label": ["rare", "unknown"]}, lambda row: row["label"] == "rare"),
    ({"stock": -3}, lambda row: row["stock"] == -3),
    ({"stock": {"min": 2_900}}, lambda row: row["stock"] >= 2_900),
    ({"price": {"max": 0.5}}, lambda row: row["price"] is not None and row["price"] <= 0.5),
    ({"price": None}, lambda row: row["price"] is None),
    ({"sold": True, "label": "cat"}, lambda row: row["sold"] and row["label"] == "cat"),
    (
        {"taken_at": {"min": "2000-01-01", "max": "2000-01-02T03:00:00+01:00"}},
        lambda row: datetime(2000, 1, 1) <= row["taken_at"] <= datetime(2000, 1, 2, 2),
    ),
    ({"day": ["1999-12-31", "2000-02-29"]},
     lambda row: row["day"] in (date(1999, 12, 31), date(2000, 2, 29))),
    ({"label": "nothing has this"}, lambda row: False),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "passes"), FILTERS, ids=[json.dumps(c) for c, _ in FILTERS])
def test_filters(
    many: Many, columns: dict[str, Any], passes: Callable[[dict[str, Any]], bool]
) -> None:
    """Both plans, and the SQL function, return only matching images, and k of them if k match; the
    hits have the values."""
    connection, live = many.connection, many.live
    of = {row["image_id"]: row for row in many.rows}
    matching = many.made.rows().filter([passes(row) for row in many.rows])
    right = exact(matching, QUERY, 10) if len(matching) else []
    only = Filter(columns=columns)
    for budget in (Budget(exact_factor=1e9), Budget(exact_factor=0)):
        graph = replace(live.graph, budget=budget)
        rows, complete = nearest(connection, graph, QUERY, 10, only.predicate(live.columns))
        assert complete
        assert len(rows) == len(right)
        assert all(passes(of[row.image_id]) for row in rows)
        if budget.exact_factor:
            assert [row.image_id for row in rows] == right
    found = connection.execute(
        "SELECT image_id FROM photos.search(%s::halfvec, columns => %s::jsonb)",
        [str(QUERY.tolist()), json.dumps(columns)],
    ).fetchall()
    assert [name for (name,) in found] == right
    assert _found_by_sql(many, {"columns": columns}) == right
    for hit in search.search(connection, live, QUERY, 10, only).hits:
        row = of[hit.image_id]
        expected = {name: row[name] for name in TYPES}
        expected |= {name: row[name].isoformat() for name in ("taken_at", "day")}
        assert hit.columns == expected


DOG_OR_CHEAP = {"any": [{"columns": {"label": "dog"}}, {"columns": {"price": {"max": 0.5}}}]}
TREES: list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
    (DOG_OR_CHEAP, lambda row: row["label"] == "dog" or (row["price"] or 1) <= 0.5),
    (
        {"all": [DOG_OR_CHEAP, {"columns": {"sold": True}}], "columns": {"stock": {"max": 50}}},
        lambda row: row["sold"] and row["stock"] <= 50
        and (row["label"] == "dog" or (row["price"] or 1) <= 0.5),
    ),
    ({"not": {"columns": {"price": {"max": 300}}}},
     lambda row: row["price"] is None or row["price"] > 300),
    ({"not": {"not": {"columns": {"price": {"max": 0.5}}}}},
     lambda row: row["price"] is not None and row["price"] <= 0.5),
    ({"not": DOG_OR_CHEAP, "any": [{"columns": {"label": "rare"}}, {"shards": ["none"]}]},
     lambda row: row["label"] == "rare"),
    ({"all": [{"columns": {"stock": 5}}, {"columns": {"stock": 6}}]}, lambda row: False),
    ({"not": {"any": [{"columns": {"sold": True}}, {"columns": {"sold": False}}]}},
     lambda row: False),  # the planner expects a quarter of the images
]  # fmt: skip


@pytest.mark.parametrize(("tree", "passes"), TREES, ids=[json.dumps(tree) for tree, _ in TREES])
def test_filters_are_joined(
    many: Many, tree: dict[str, Any], passes: Callable[[dict[str, Any]], bool]
) -> None:
    """`all`, `any` and `not` return by both plans, and in SQL, only matching images, and k of them
    if k match; `not` is the rest of all images, also of those without a value."""
    keep = [bool(passes(row)) for row in many.rows]
    matching = many.made.rows().filter(keep)
    right = exact(matching, QUERY, 10) if any(keep) else []
    where = Filter.model_validate(tree).predicate(many.live.columns)
    for budget in (Budget(exact_factor=1e9), Budget(exact_factor=0)):
        graph = replace(many.live.graph, budget=budget)
        rows, complete = nearest(many.connection, graph, QUERY, 10, where)
        names = [row.image_id for row in rows]
        assert complete
        assert len(names) == len(right)
        assert set(names) <= set(matching.column("image_id").to_pylist())
        if budget.exact_factor:
            assert names == right
    assert _found_by_sql(many, tree) == right


def _found_by_sql(
    many: Many, tree: dict[str, Any], query: NDArray[np.float32] = QUERY
) -> list[str]:
    found = many.connection.execute(
        "SELECT image_id FROM photos.search_where(%s::halfvec, %s::jsonb)",
        [str(query.tolist()), json.dumps(tree)],
    ).fetchall()
    return [name for (name,) in found]


def test_the_plan_of_joined_filters_depends_on_what_they_let_through(many: Many) -> None:
    """Few matching images are all compared, of many the graph is walked, whatever joins them."""
    graph = replace(many.live.graph, budget=Budget(exact_factor=5, rescue_rows=0))  # 273 of 3,000
    few = {"columns": {"stock": {"max": 40}}}
    for tree, expected in (
        ({"any": [few, {"columns": {"label": "rare"}}]}, True),
        ({"any": [few, {"columns": {"sold": True}}]}, False),
        ({"all": [few, {"columns": {"sold": True}}]}, True),
        ({"not": few}, False),
        ({"not": {"not": few}}, True),
    ):
        where = Filter.model_validate(tree).predicate(many.live.columns)
        assert where
        assert few_match(many.connection, graph, where) is expected, tree


def test_recall_under_filters_of_half_to_a_thousandth(many: Many) -> None:
    """The nearest are found as without a filter, whatever share of the images passes, by the
    service's search and by SQL. If few pass, all of them are compared, and none is missed."""
    ids = many.made.rows().column("image_id").to_pylist()
    for columns, share in (
        ({"sold": True}, 0.5),
        ({"stock": {"max": 289}}, 0.1),
        ({"stock": {"max": 19}}, 0.01),
        ({"label": "rare"}, 0.001),
    ):
        only = Filter(columns=columns)
        passing = {row["image_id"] for row in many.rows if _passes(row, columns)}
        assert len(passing) == round(share * ROWS)
        matching = many.made.rows().filter([name in passing for name in ids])
        least = 0.97 if share > 0.1 else 1.0
        assert few_match(many.connection, many.live.graph, only.predicate(many.live.columns)) is (
            least == 1.0
        )
        found = found_by_sql = wanted = 0
        for query in clustered(20, 99):
            right = set(_nearest_stored(matching, query))
            hits = search.search(many.connection, many.live, query, 10, only).hits
            found += len(right & {hit.image_id for hit in hits})
            found_by_sql += len(right & {*_found_by_sql(many, {"columns": columns}, query)})
            wanted += len(right)
        assert min(found, found_by_sql) >= least * wanted, (columns, found, found_by_sql, wanted)


def _nearest_stored(images: pa.Table, query: NDArray[np.float32]) -> list[str]:
    """Ids of the ten nearest, by cosine, of the vectors as they are stored, in 16 bits."""
    vectors = matrix(images).astype(np.float16).astype(np.float64)
    scores = vectors @ query.astype(np.float16) / np.linalg.norm(vectors, axis=1)
    ids = images.column("image_id").to_pylist()
    return [ids[row] for row in np.argsort(-scores)[:10]]


def _passes(row: dict[str, Any], columns: dict[str, Any]) -> bool:
    ((name, wanted),) = columns.items()
    return row[name] <= wanted["max"] if isinstance(wanted, dict) else row[name] == wanted


def test_each_column_has_an_index(many: Many) -> None:
    """A narrow filter is answered through an index, not by reading the table."""
    for columns in (
        {"label": "rare"}, {"stock": 7}, {"price": {"max": 0.5}}, {"day": "2000-01-01"},
        {"taken_at": {"max": "1999-12-25T12:00:00"}},
    ):  # fmt: skip
        where = Filter(columns=columns).predicate(many.live.columns)
        assert where
        with many.connection.transaction():
            many.connection.execute("SET LOCAL enable_seqscan = off")
            explain = f"EXPLAIN SELECT FROM clip_assets.{many.live.table} WHERE {where.condition}"
            lines = many.connection.execute(explain, where.values).fetchall()  # type: ignore[arg-type]
        assert "Index Cond" in "\n".join(line for (line,) in lines)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"colour": "red"}, "no column 'colour'; it declares label, stock"),
        ({"stock": "many"}, "'many' is not a bigint"),
        ({"label": {"min": "a"}}, "not a range"),
        ({"day": ""}, "null does"),
    ],
)
def test_a_filter_that_cannot_be_says_why(many: Many, columns: dict[str, Any], said: str) -> None:
    """The error names the column, and what is declared; in a part of a filter, too."""
    inner = Filter.model_validate({"any": [{"not": {"columns": columns}}]})
    with pytest.raises(FilterError, match=said):
        search.search(many.connection, many.live, QUERY, 10, inner)
    with pytest.raises(FilterError, match=said):
        search.search(many.connection, many.live, QUERY, 10, Filter(columns=columns))


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ('{"colour": 1}', psycopg.errors.UndefinedColumn),
        ('{"price": {"mn": 1}}', psycopg.errors.InvalidParameterValue),
        ('{"stock": "many"}', psycopg.errors.InvalidTextRepresentation),
    ],
)
def test_sql_says_what_is_wrong(many: Many, columns: str, error: type[psycopg.Error]) -> None:
    """A misspelt column or range is an error, not a filter that does nothing."""
    with pytest.raises(error):
        _found_by_sql(many, {"not": {"any": [{"columns": json.loads(columns)}]}})
    with pytest.raises(error):
        many.connection.execute(
            "SELECT * FROM photos.search(%s::halfvec, columns => %s::jsonb)",
            [str(QUERY.tolist()), columns],
        )


def test_columns_are_described(many: Many) -> None:
    """Few values are listed, and ranges have their bounds, as JSON has them."""
    label, stock, price, sold, taken_at, day = declared_columns(many.connection, many.live)
    assert label.values == tuple(sorted({row["label"] for row in many.rows}))
    assert (label.name, label.type, label.min) == ("label", "text", None)
    assert (stock.values, stock.min, stock.max) == (None, -10, ROWS - 11)
    assert (price.min, price.max) == (0.125, 2_999 / 8)
    assert sold.values == (False, True)
    assert taken_at.min == "1999-12-25T00:00:00"
    assert day.max == (date(1999, 12, 25) + timedelta(hours=ROWS - 1)).isoformat()


def test_the_view_has_them(many: Many) -> None:
    row = many.connection.execute(
        "SELECT columns FROM photos.images WHERE image_id = '0001.jpg'"
    ).fetchone()
    assert row
    assert row[0]["taken_at"] == "1999-12-25T01:00:00"


def test_declared_later_and_otherwise(connection: psycopg.Connection, tmp_path: Path) -> None:
    """An index made before a column was declared gets it at the next reconcile, with null for
    parts that lack it; a column of another type replaces the old one; one that is no longer
    declared is in no hit."""
    made = Made(Objects(str(tmp_path)))
    made.add("00000")
    made.add("00001")
    before = publish(connection, made)
    assert before.columns == {}
    table = with_columns(image_table("00000", 50, 1), [known(row) for row in range(50)])
    made.add("00000", version=2, table=table)
    later = replace(made, columns={"label": ColumnType.TEXT, "stock": ColumnType.BIGINT})
    live = publish(connection, later)
    assert live.index_id == before.index_id
    dogs = Filter(columns={"label": "dog"})
    hits = search.search(connection, live, QUERY, 50, dogs).hits
    assert {hit.image_id for hit in hits} == {f"00000-{row:04d}.jpg" for row in range(0, 50, 3)}
    unknown = search.search(connection, live, QUERY, 50, Filter(columns={"label": None})).hits
    assert {hit.lineage.shard for hit in unknown} == {"00001"}

    as_text = table.set_column(
        table.schema.get_field_index("stock"), "stock", pa.array(map(str, range(50)))
    )
    made.add("00000", version=3, table=as_text)
    retyped = replace(made, columns={"stock": ColumnType.TEXT})
    (hit,) = search.search(
        connection, publish(connection, retyped), QUERY, 50, Filter(columns={"stock": "7"})
    ).hits
    assert hit.columns == {"stock": "7"}
    assert reconcile(connection, retyped).loaded == []
    assert find(connection, retyped).columns == {"stock": ColumnType.TEXT}
