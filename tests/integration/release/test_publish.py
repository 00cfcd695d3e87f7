"""Publishing: locks with timeouts, comparison with the live release, and dropped tables."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from clip_assets.errors import ReleaseError
from clip_assets.index import tables
from clip_assets.judge.comparison import Comparison
from clip_assets.release import release, retire
from clip_assets.search import search
from tests.integration.support import (
    COLLECTION,
    Made,
    Model,
    build_and_judge,
    clustered,
    find,
    publish,
    reconcile,
)

WAITING = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
HOLDING = "SELECT count(*) FROM photos.images"


def test_a_long_query_delays_only_the_publisher(
    database: str, connection: psycopg.Connection, released: Made, other: Made
) -> None:
    """While an analyst's transaction locks the view, publishing retries with short waits: other
    readers are not blocked, and the release moves when the transaction ends."""
    index = build_and_judge(connection, other)
    with psycopg.connect(database) as holder, psycopg.connect(database, autocommit=True) as reader:
        reader.execute("SET statement_timeout = '60s'")  # a reader that waits is an error
        holder.execute(HOLDING)
        with ThreadPoolExecutor(1) as pool:
            moving = pool.submit(_publish_on_its_own, database, index)
            for _ in range(20):
                reader.execute(HOLDING)
                time.sleep(0.1)
            assert not moving.done()
            holder.rollback()
            live, moved = moving.result(timeout=600)
    assert moved
    assert live.identity == other.model.identity


def test_publishing_gives_up_after_its_timeout(
    database: str,
    connection: psycopg.Connection,
    released: Made,
    other: Made,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A transaction that keeps its lock makes publishing fail with a message; nothing changes."""
    monkeypatch.setattr(release, "PATIENCE_SECONDS", 0.1)
    before = search.live(connection)
    index = build_and_judge(connection, other)
    with psycopg.connect(database) as holder:
        holder.execute(HOLDING)
        with pytest.raises(ReleaseError, match="photos was not changed: queries or loads held"):
            release.publish(connection, index, "run-2")
    assert search.live(connection) == before


def test_no_shard_is_loaded_between_check_and_publish(
    database: str, connection: psycopg.Connection, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load that starts after the judgement was checked against the ledger waits for the release,
    so the published content is the judged content."""
    index = build_and_judge(connection, made)
    made.add("00001", version=2)
    compare = tables.content
    loading: list[threading.Thread] = []
    order: list[str] = []

    def load_meanwhile() -> None:
        with psycopg.connect(database, autocommit=True) as own:
            reconcile(own, made)
        order.append("loaded")

    def content_then_load(*arguments: object) -> str:
        found = compare(*arguments)  # type: ignore[arg-type]
        loading.append(threading.Thread(target=load_meanwhile))
        loading[0].start()
        with psycopg.connect(database, autocommit=True) as watch:
            while loading[0].is_alive() and watch.execute(WAITING).fetchone() == (0,):
                time.sleep(0.01)
        order.append("checked")
        return found

    monkeypatch.setattr(tables, "content", content_then_load)
    live, _ = release.publish(connection, index, "run-1")
    loading[0].join(600)
    assert order == ["checked", "loaded"]
    assert live.content != compare(connection, index.index_id), (
        "the load came after, as any refresh does"
    )


def test_the_first_comparison_has_one_column(connection: psycopg.Connection, made: Made) -> None:
    """If nothing is live, the comparison has one column."""
    live = publish(connection, made)
    comparison = Comparison.model_validate(live.comparison)
    assert comparison.live is None
    sizes = f"SELECT pg_table_size('{live.table}'), pg_relation_size('{live.table}_hnsw')"
    connection.execute("SET search_path = clip_assets")
    judgement = comparison.candidate.judgement
    assert (judgement.table_bytes, judgement.hnsw_bytes) == connection.execute(sizes).fetchone()  # type: ignore[arg-type]
    first, _, *rows = comparison.markdown.splitlines()
    assert first == f"|  | {comparison.candidate.model} |"
    recall = comparison.candidate.judgement.reached.text
    assert f"| recall@10 text | {recall.mean:.3f} (≥ {recall.lower:.3f}) |" in rows
    assert any(row.startswith("| filter to 10 %, text | ") for row in rows)


@pytest.mark.all_queries
def test_a_candidate_is_compared_with_the_live_release(
    connection: psycopg.Connection, released: Made, other: Made
) -> None:
    """Another model is measured beside the live one on the same texts and images."""
    before = search.live(connection)
    live = publish(connection, other)
    comparison = Comparison.model_validate(live.comparison)
    assert comparison.live
    assert comparison.overlap
    assert comparison.live.model == before.identity.short
    assert (comparison.overlap.release_id, comparison.overlap.model) == (
        before.id,
        before.identity.short,
    )
    assert (comparison.overlap.texts, comparison.overlap.images) == (100, 100)
    assert comparison.overlap.text is not None
    assert 0 < comparison.overlap.text < 1
    assert f"|  | {live.identity.short} | {before.identity.short} |" in comparison.markdown
    assert "Of the ten nearest, both find" in comparison.markdown


def test_the_same_vectors_overlap_completely(
    connection: psycopg.Connection, released: Made
) -> None:
    """Two indexes with the same vectors have an overlap of 100 %."""
    twin = replace(released, model=Model("twin", weights="c" * 64))
    for number in range(4):
        twin.add(f"{number:05d}")
    comparison = Comparison.model_validate(publish(connection, twin).comparison)
    assert comparison.overlap
    assert (comparison.overlap.text, comparison.overlap.image) == (1.0, 1.0)


def test_old_indexes_are_dropped(connection: psycopg.Connection, released: Made) -> None:
    """Indexes beyond the number to keep lose table and ledger; their releases stay on record but
    are not rollback targets."""
    models = [replace(released, model=Model(name, weights=name * 64)) for name in "bcd"]
    for made in models:
        for number in range(4):
            made.add(f"{number:05d}")
        publish(connection, made)
    kept = [find(connection, made).index_id for made in models[1:]]
    gone = retire.drop_superseded(connection, COLLECTION, keep=2)
    assert sorted(gone) == _names(connection, [released, models[0]])
    for made in [released, models[0]]:
        assert tables.ledger(connection, find(connection, made)) == {}
    assert _tables(connection) == {tables.table_name(number) for number in kept}
    dropped = connection.execute(
        "SELECT model FROM photos.releases WHERE dropped_at IS NOT NULL ORDER BY release_id"
    ).fetchall()
    assert dropped == [("made-up",), ("b",)]
    assert release.roll_back(connection, COLLECTION).index_id == kept[0]
    with pytest.raises(ReleaseError, match="no earlier release of another index"):
        release.roll_back(connection, COLLECTION)
    assert retire.drop_superseded(connection, COLLECTION, keep=2) == []


def test_a_dropped_index_can_be_loaded_again(
    connection: psycopg.Connection, released: Made, other: Made
) -> None:
    """A model whose index was dropped is loaded again and released like any other."""
    third = replace(released, model=Model("third", weights="c" * 64))
    third.add("00000")
    for made in (other, third):
        publish(connection, made)
    assert retire.drop_superseded(connection, COLLECTION, keep=2) == _names(connection, [released])
    live = publish(connection, released)
    assert live.identity == released.model.identity
    assert len(search.search(connection, live, clustered(1, 9)[0], 10).hits) == 10


def test_live_and_rollback_target_are_never_dropped(
    connection: psycopg.Connection, released: Made, other: Made
) -> None:
    """However few are to be kept; nor is one that is being built. What a rollback left is dropped
    after those that a rollback can go back to."""
    publish(connection, other)
    candidate = replace(released, model=Model("third", weights="c" * 64))
    candidate.add("00000")
    build_and_judge(connection, candidate)
    assert retire.drop_superseded(connection, COLLECTION, keep=1) == []
    release.roll_back(connection, COLLECTION)
    assert retire.drop_superseded(connection, COLLECTION, keep=2) == []
    assert len(_tables(connection)) == 3


def test_a_table_in_use_is_not_dropped(
    database: str,
    connection: psycopg.Connection,
    released: Made,
    other: Made,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A table that a query still reads, or that a user's view depends on, is kept."""
    monkeypatch.setattr(retire, "_PATIENCE_SECONDS", 0.1)
    third = replace(released, model=Model("third", weights="c" * 64))
    third.add("00000")
    for made in (other, third):
        publish(connection, made)
    (name,) = _names(connection, [released])
    with psycopg.connect(database) as holder:
        holder.execute(f"SELECT count(*) FROM clip_assets.{name}")  # type: ignore[arg-type]
        assert retire.drop_superseded(connection, COLLECTION, keep=2) == []
    connection.execute(f"CREATE VIEW mine AS SELECT image_id FROM clip_assets.{name}")  # type: ignore[arg-type]
    assert retire.drop_superseded(connection, COLLECTION, keep=2) == []
    connection.execute("DROP VIEW mine")
    assert retire.drop_superseded(connection, COLLECTION, keep=2) == [name]


def _publish_on_its_own(database: str, index: tables.Index) -> tuple[search.Release, bool]:
    with psycopg.connect(database, autocommit=True) as own:
        return release.publish(own, index, "run-2")


def _names(connection: psycopg.Connection, of: list[Made]) -> list[str]:
    return sorted(tables.table_name(find(connection, made).index_id) for made in of)


def _tables(connection: psycopg.Connection) -> set[str]:
    rows = connection.execute(
        "SELECT tablename FROM pg_tables "
        "WHERE schemaname = 'clip_assets' AND tablename ~ '^images_[0-9]+$'"
    )
    return {name for (name,) in rows}


@pytest.mark.parametrize("damage", ["DROP TABLE {} CASCADE", "TRUNCATE {}"])
def test_a_damaged_release_is_replaced_by_another_index(
    connection: psycopg.Connection, released: Made, other: Made, damage: str
) -> None:
    """It cannot be compared, but this does not block the index that replaces it."""
    lost = publish(connection, other)
    table = sql.Identifier("clip_assets", lost.table)
    connection.execute(sql.SQL(damage).format(table))  # type: ignore[arg-type]
    connection.execute(
        "INSERT INTO clip_assets.human_judgement "
        "(collection, query_text, query_image, image_id, is_right, judged_by) "
        "VALUES ('photos', '', '00000-0002.jpg', '00000-0001.jpg', true, '')"
    )
    again = publish(connection, released)
    assert again.index_id != lost.index_id
    assert search.live(connection, COLLECTION) == again
    assert again.comparison is not None
    assert Comparison.model_validate(again.comparison).overlap is None
    vector = search.some_vectors(connection, again, 1)[0]
    assert len(search.search(connection, again, vector, 5).hits) == 5
