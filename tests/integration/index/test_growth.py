"""A large load goes into a new index instead of the existing graph."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from clip_assets.errors import ReleaseError, StoreError
from clip_assets.index import build, growth, tables
from clip_assets.index.vector_type import VectorType
from clip_assets.judge import judge
from clip_assets.judge.judgement import Wanted
from clip_assets.release import release, retire
from clip_assets.search import search
from clip_assets.search.search import Release
from clip_assets.status import is_live
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects
from tests.integration.support import (
    COLLECTION,
    Made,
    build_and_judge,
    clustered,
    find,
    load_all,
    publish,
    reconcile,
)


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shards of fifty rows are as many as fifty thousand elsewhere."""
    monkeypatch.setattr(growth, "MANY_ROWS", 100)


@pytest.fixture
def grown(released: Made) -> Made:
    """Two shards more than the four that are live."""
    for shard in ("00004", "00005"):
        released.add(shard)
    return released


def test_a_large_load_builds_a_new_index(connection: psycopg.Connection, grown: Made) -> None:
    """All shards go into a new index, whose graph is built after the load; the live index is used
    until the next release, and kept for rollback."""
    before = search.live(connection)
    answers = _answers(connection, before)
    loaded = reconcile(connection, grown)
    assert loaded.index.index_id > before.index_id
    assert loaded.loaded == grown.shards
    assert loaded.outgrown == before.table
    assert not tables.has_hnsw(connection, loaded.index)
    assert search.live(connection) == before
    assert _answers(connection, before) == answers
    assert build.build(connection, loaded.index, 300)
    after = publish(connection, grown)
    assert (after.index_id, after.rows) == (loaded.index.index_id, 300)
    assert after.identity == before.identity
    assert release.roll_back(connection, COLLECTION) == before
    assert _answers(connection, before) == answers


def test_a_rolled_back_new_index_needs_a_manual_release(
    connection: psycopg.Connection, grown: Made
) -> None:
    """The newer index is of the model that is live, so automation may publish it; after a
    rollback only a manual run does."""
    build_and_judge(connection, grown)
    assert _is_live(connection, grown)
    publish(connection, grown)
    assert _is_live(connection, grown)
    release.roll_back(connection, COLLECTION)
    assert not _is_live(connection, grown)
    for number in range(6, 9):
        grown.add(f"{number:05d}")
    assert build_and_judge(connection, grown).index_id > search.live(connection).index_id + 1
    assert not _is_live(connection, grown)


def test_the_outgrown_index_is_dropped_once_superseded(
    connection: psycopg.Connection, grown: Made
) -> None:
    """It is dropped like any other superseded index."""
    outgrown = search.live(connection)
    publish(connection, grown)
    for number in range(6, 9):
        grown.add(f"{number:05d}")
    live = publish(connection, grown)
    assert retire.drop_superseded(connection, COLLECTION, keep=2) == [outgrown.table]
    assert (live.rows, search.live(connection)) == (450, live)
    assert reconcile(connection, grown).loaded == []


@pytest.mark.parametrize("added", [1, 2])
def test_a_small_load_is_inserted_into_the_live_index(
    connection: psycopg.Connection, released: Made, added: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small share of the shards, or few rows however large their share."""
    monkeypatch.setattr(growth, "MANY_ROWS", 50 if added == 1 else 101)
    for number in range(4, 4 + added):
        released.add(f"{number:05d}")
    loaded = reconcile(connection, released)
    assert loaded.index.index_id == search.live(connection).index_id
    assert tables.has_hnsw(connection, loaded.index)
    assert loaded.outgrown is None


def test_replaced_shards_count_as_changed(connection: psycopg.Connection, released: Made) -> None:
    """Inserting them would also leave dead rows in the graph."""
    for shard in ("00002", "00003"):
        released.add(shard, version=2)
    assert reconcile(connection, released).index.index_id > search.live(connection).index_id
    index = find(connection, released)
    assert publish(connection, released).index_id == index.index_id
    loaded = {name: row.commit_path for name, row in tables.ledger(connection, index).items()}
    assert loaded == commits.newest(released.objects, released.model.spec.slug)


def test_an_unreleased_index_only_loses_its_graph(
    connection: psycopg.Connection, made: Made
) -> None:
    """No release uses it, so its rows can stay in the same table."""
    first = build_and_judge(connection, made)
    for shard in ("00004", "00005"):
        made.add(shard)
    loaded = reconcile(connection, made)
    assert loaded.index.index_id == first.index_id
    assert loaded.loaded == ["00004", "00005"]
    assert not tables.has_hnsw(connection, loaded.index)
    assert publish(connection, made).rows == 300


def test_an_unfinished_load_is_not_published(connection: psycopg.Connection, made: Made) -> None:
    """A load that dropped the graph and then failed also discards the judgement."""
    index = build_and_judge(connection, made)
    for shard in ("00004", "00005"):
        made.add(shard)
    for shard in made.shards:
        _part(made, shard).write_bytes(b"")
    with pytest.raises(StoreError, match="differs from the file that was committed"):
        reconcile(connection, made)
    with pytest.raises(ReleaseError, match="never judged"):
        release.publish(connection, index, "run-2")


def test_an_index_without_a_graph_is_not_published(
    connection: psycopg.Connection, made: Made
) -> None:
    """An earlier judgement does not allow publishing an index without a graph."""
    index = build_and_judge(connection, made)
    connection.execute(f"DROP INDEX clip_assets.{index.hnsw}".encode())
    with pytest.raises(ReleaseError, match="has no HNSW"):
        release.publish(connection, index, "run-2")


def test_a_table_being_read_keeps_its_graph(
    database: str, connection: psycopg.Connection, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load does not wait for a long query; it inserts into the existing graph instead."""
    monkeypatch.setattr(growth, "_PATIENCE_SECONDS", 0.1)
    index = build_and_judge(connection, made)
    for shard in ("00004", "00005"):
        made.add(shard)
    with psycopg.connect(database) as reader:
        reader.execute(f"SELECT count(*) FROM clip_assets.images_{index.index_id}".encode())
        assert reconcile(connection, made).loaded == ["00004", "00005"]
    assert tables.has_hnsw(connection, index)


def test_small_shards_before_large_ones(connection: psycopg.Connection, tmp_path: Path) -> None:
    """The number of new rows decides, not the size of the shards loaded so far."""
    made = Made(Objects(str(tmp_path / "photos")))
    made.add("00000", 20)
    before = publish(connection, made)
    made.add("00001", 100)
    assert reconcile(connection, made).outgrown == before.table


def test_a_shard_without_a_commit_prevents_a_new_index(
    connection: psycopg.Connection, grown: Made
) -> None:
    """Its rows exist only in the old index, so that index stays in use."""
    path = commits.newest(grown.objects, grown.model.spec.slug)["00003"]
    Path(grown.objects.uri(path)).unlink()
    loaded = reconcile(connection, grown)
    assert loaded.index.index_id == search.live(connection).index_id
    assert len(tables.ledger(connection, loaded.index)) == 6


def test_rollback_to_a_changed_outgrown_index(
    connection: psycopg.Connection, released: Made
) -> None:
    """Its current content is judged together with the index that replaces it."""
    outgrown = search.live(connection)
    released.add("00000", version=2)
    assert reconcile(connection, released).outgrown is None
    for shard in ("00004", "00005"):
        released.add(shard)
    index = build_and_judge(connection, released)
    judge.judge_outgrown(connection, released.objects, index, Wanted(recall=0.9))
    assert release.publish(connection, index, "run-2")[0].rows == 300
    back = release.roll_back(connection, COLLECTION)
    assert back.index_id == outgrown.index_id
    assert back.content == tables.content(connection, outgrown.index_id) != outgrown.content


def test_missing_files_of_the_outgrown_index_do_not_block(
    connection: psycopg.Connection, released: Made
) -> None:
    """An erasure removes files it rewrote; the new index is still judged and released."""
    first = commits.newest(released.objects, released.model.spec.slug)
    for shard in ("00002", "00003"):
        released.add(shard, version=2)
        Path(released.objects.uri(first[shard])).unlink()
    live = publish(connection, released)
    assert live.comparison
    assert live.index_id == find(connection, released).index_id


def test_eight_loaders_share_one_new_index(
    database: str, connection: psycopg.Connection, grown: Made
) -> None:
    """Loaders that start a large load at the same time fill the same new index."""
    before = find(connection, grown)
    with ThreadPoolExecutor(8) as loaders:
        made = {one.index.index_id for one in loaders.map(load_all, [database] * 8, [grown] * 8)}
    assert made == {find(connection, grown).index_id}
    assert connection.execute("SELECT count(*) FROM clip_assets.index").fetchone() == (2,)
    assert find(connection, grown).index_id > before.index_id
    assert publish(connection, grown).rows == 300


def test_a_failed_load_is_resumed(connection: psycopg.Connection, grown: Made) -> None:
    """The next load continues with the same new index and loads the missing shards."""
    part = _part(grown, "00005")
    whole = part.read_bytes()
    part.write_bytes(whole[:-1])
    with pytest.raises(StoreError, match="differs from the file that was committed"):
        reconcile(connection, grown)
    begun = find(connection, grown)
    assert search.live(connection).rows == 200
    part.write_bytes(whole)
    loaded = reconcile(connection, grown)
    assert loaded.index.index_id == begun.index_id
    assert "00005" in loaded.loaded
    assert sorted(loaded.loaded + loaded.unchanged) == grown.shards
    assert publish(connection, grown).rows == 300


def _answers(connection: psycopg.Connection, live: Release) -> list[tuple[str, float]]:
    hits = search.search(connection, live, clustered(1, 9)[0], 200).hits
    return [(hit.image_id, hit.score) for hit in hits]


def _is_live(connection: psycopg.Connection, made: Made) -> bool:
    return is_live(connection, COLLECTION, made.model.spec.slug, VectorType.HALFVEC)


def _part(made: Made, shard: str) -> Path:
    path = commits.newest(made.objects, made.model.spec.slug)[shard]
    return Path(made.objects.uri(commits.read_path(made.objects, path).parts[0].path))
