"""The table has the parquet's rows exactly once, however often and from how many processes."""

import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import ForkServerContext
from pathlib import Path
from random import Random

import numpy as np
import psycopg
import pytest

from clip_assets.errors import ModelError, StoreError
from clip_assets.index import load, tables
from clip_assets.index.filter_indexes import ensure_indexes
from clip_assets.index.vector_type import VectorType
from clip_assets.source.checked import LONGEST
from clip_assets.store import commit as commits
from clip_assets.store import paths
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion
from tests.integration.support import (
    DIM,
    Made,
    Model,
    both_types,
    build_and_judge,
    clustered,
    fingerprint,
    load_all,
    matrix,
    reader,
    reconcile,
    table_of,
)

NASTY = [
    None,
    "",
    "plain",
    'it\'s "quoted" \\ back\\slashed \\N \\.',
    "tab\there\nnew line\r\n",
    "grüße 北京 العربية",
    "👩🏽‍🚀 four bytes each 𝔘𝔫𝔦",
    "right-to-left \u202e and zero\u200bwidth",
    "long " * 200_000,
]


@both_types
def test_rows_equal_the_parquet(
    connection: psycopg.Connection, tmp_path: Path, vector_type: VectorType
) -> None:
    """Every column arrives as committed, including hostile texts."""
    made = Made(Objects(str(tmp_path / "photos")), vector_type=vector_type)
    ids = [f"{number} 'ö\"👍.jpg" for number in range(len(NASTY))]
    made.add("00000", table=table_of(ids, NASTY, clustered(len(ids), 1)))
    index = reconcile(connection, made).index
    found = connection.execute(
        "SELECT row, image_id, uri, caption, sha256, width, height, shard, embedding::real[] "
        f"FROM clip_assets.{tables.table_name(index.index_id)} ORDER BY row"
    ).fetchall()
    expected = made.rows().drop_columns(["thumbnail", "embedding"]).to_pylist()
    names = ("image_id", "uri", "caption", "sha256", "width", "height")
    assert [row[0] for row in found] == list(range(len(NASTY)))
    assert [dict(zip(names, row[1:7], strict=True)) for row in found] == expected
    assert {row[7] for row in found} == {"00000"}
    vectors = np.array([row[8] for row in found], np.float32)
    most = 2**-11 if vector_type is VectorType.HALFVEC else 0
    assert np.abs(vectors - matrix(made.rows())).max() <= most


def test_the_longest_names_that_are_listed_fit_into_the_indexes(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    """Postgres refuses a row of an index that is longer than a third of a page."""
    made = Made(Objects(str(tmp_path / "photos")))
    names = [Random(number).randbytes(LONGEST).hex()[: LONGEST - len("/pictures/")]
             for number in range(3)]  # fmt: skip
    table = table_of(names, [None] * len(names), clustered(len(names), 1))
    assert max(map(len, table.column("uri").to_pylist())) == LONGEST
    made.add("00000", table=table)
    index = reconcile(connection, made).index
    ensure_indexes(connection, index)
    found = connection.execute(
        f"SELECT image_id FROM clip_assets.{tables.table_name(index.index_id)}"
    )
    assert sorted(name for (name,) in found) == sorted(names)


def test_a_shard_of_many_batches(connection: psycopg.Connection, tmp_path: Path) -> None:
    """Rows and thumbnails keep their order and number across the batches and parts of a shard."""
    made = Made(Objects(str(tmp_path / "photos")))
    made.add("00000", 4_500)
    index = build_and_judge(connection, made)
    table = f"clip_assets.{tables.table_name(index.index_id)}"
    found = connection.execute(
        f"SELECT image_id, sha256, webp FROM {table} JOIN clip_assets.thumbnail USING (sha256) "
        "ORDER BY row"
    ).fetchall()
    columns = made.rows().select(["image_id", "sha256", "thumbnail"])
    assert found == [tuple(row.values()) for row in columns.to_pylist()]
    numbers = connection.execute(f"SELECT min(row), max(row), count(*) FROM {table}").fetchone()
    assert numbers == (0, 4_499, 4_500)
    assert index.judgement
    assert index.judgement["damaged_shards"] == []


def test_nul_bytes_are_dropped(connection: psycopg.Connection, tmp_path: Path) -> None:
    """Postgres has no NUL in texts; the rest of a caption that has one is kept."""
    made = Made(Objects(str(tmp_path / "photos")))
    made.add("00000", table=table_of(["a"], ["before\0after"], clustered(1, 1)))
    index = reconcile(connection, made).index
    caption = f"SELECT caption FROM clip_assets.{tables.table_name(index.index_id)}"
    assert connection.execute(caption).fetchone() == ("beforeafter",)


def test_thumbnails_are_stored_once(connection: psycopg.Connection, tmp_path: Path) -> None:
    """Images of the same content share a thumbnail, within a shard and between shards."""
    made = Made(Objects(str(tmp_path / "photos")))
    one = table_of(["same"], [None], clustered(1, 1)).column("sha256")
    for shard in ("00000", "00001"):
        table = table_of([f"{shard}-a", f"{shard}-b"], [None, None], clustered(2, int(shard)))
        same = table.set_column(3, table.schema.field("sha256"), [one.to_pylist() * 2])
        made.add(shard, table=same)
    reconcile(connection, made)
    count = connection.execute("SELECT count(*) FROM clip_assets.thumbnail").fetchone()
    assert count == (1,)


def test_a_second_load_changes_nothing(connection: psycopg.Connection, made: Made) -> None:
    """A second load touches no row and no ledger line."""
    first = reconcile(connection, made)
    before = fingerprint(connection, first.index)
    loaded_at = connection.execute("SELECT max(loaded_at) FROM clip_assets.ledger").fetchone()
    second = reconcile(connection, made)
    assert (first.loaded, first.unchanged) == (made.shards, [])
    assert (second.loaded, second.unchanged) == ([], made.shards)
    assert fingerprint(connection, second.index) == before
    assert (
        connection.execute("SELECT max(loaded_at) FROM clip_assets.ledger").fetchone() == loaded_at
    )
    assert [row[0] for row in before[1]] == made.shards


def test_a_changed_shard_replaces_only_itself(connection: psycopg.Connection, made: Made) -> None:
    """A new version of one shard leaves the rows of the others where they were."""
    index = reconcile(connection, made).index
    places = f"SELECT shard, row, ctid FROM clip_assets.{tables.table_name(index.index_id)}"
    before = set(connection.execute(places))
    made.add("00002", 30, version=2)
    assert reconcile(connection, made).loaded == ["00002"]
    after = set(connection.execute(places))
    assert {row[0] for row in before ^ after} == {"00002"}
    assert len([row for row in after if row[0] == "00002"]) == 30
    assert tables.ledger(connection, index)["00002"].rows == 30


def test_missing_shards_are_named(connection: psycopg.Connection, made: Made) -> None:
    """A shard of the catalog without embeddings is listed, and the others load."""
    shards = [*made.current, ShardVersion("00009", 1, "f" * 64)]
    done = load.reconcile(connection, made.objects, made.asked, shards)
    assert (done.loaded, done.missing) == (made.shards, ["00009"])


def test_loaded_commits_are_not_read_again(connection: psycopg.Connection, made: Made) -> None:
    """If the ledger has every current shard, neither a listing nor another commit is read."""
    reconcile(connection, made)
    shards, current = made.shards, made.current
    for shard in shards[1:]:
        shutil.rmtree(made.objects.uri(paths.embeddings(made.model.spec.slug, shard)))
    done = load.reconcile(connection, made.objects, made.asked, current)
    assert (done.loaded, done.unchanged, done.missing) == ([], shards, [])


def test_the_old_version_stays_until_the_new_is_embedded(
    connection: psycopg.Connection, made: Made
) -> None:
    """While a shard's current version has no commit, the version before stays loaded."""
    reconcile(connection, made)
    newer = [*made.current[:-1], ShardVersion("00003", 2, "f" * 64)]
    done = load.reconcile(connection, made.objects, made.asked, newer)
    assert (done.loaded, done.unchanged, done.missing) == ([], made.shards, [])


def test_nothing_committed(connection: psycopg.Connection, tmp_path: Path) -> None:
    """A collection without embeddings says what to materialize."""
    with pytest.raises(StoreError, match="Materialize `embeddings` first"):
        reconcile(connection, Made(Objects(str(tmp_path / "empty"))))


def test_a_late_loader_keeps_the_newer_version(connection: psycopg.Connection, made: Made) -> None:
    """A loader with an outdated list of commits does not replace a newer one."""
    path = commits.newest(made.objects, made.model.spec.slug)["00001"]
    old = commits.read_path(made.objects, path)
    made.add("00001", 20, version=2)
    index = reconcile(connection, made).index
    before = fingerprint(connection, index)
    load.load_shard(connection, made.objects, index, old, path)
    assert fingerprint(connection, index) == before


@pytest.mark.promise("Each shard is loaded exactly once")
def test_eight_processes_load_like_one(
    database: str, made: Made, processes: ForkServerContext
) -> None:
    """Eight processes that load at the same time leave what one would have left."""
    with ProcessPoolExecutor(8, mp_context=processes) as pool:
        done = [run.result() for run in [pool.submit(load_all, database, made) for _ in range(8)]]
    with psycopg.connect(database, autocommit=True) as connection:
        assert len({one.index.index_id for one in done}) == 1
        together = fingerprint(connection, done[0].index)
        connection.execute(f"TRUNCATE clip_assets.{tables.table_name(done[0].index.index_id)}")
        connection.execute("DELETE FROM clip_assets.ledger")
        alone = fingerprint(connection, reconcile(connection, made).index)
    assert together == alone


def test_readers_never_see_a_partly_replaced_shard(
    database: str, connection: psycopg.Connection, made: Made
) -> None:
    """While shards are replaced, a reader counts all rows of each at every moment."""
    index = reconcile(connection, made).index
    with reader(database, index, {50}) as seen:
        for version in range(2, 8):
            made.add("00001", version=version)
            made.add("00003", version=version)
            assert reconcile(connection, made).loaded == ["00001", "00003"]
    assert seen


def test_a_tampered_part_is_refused(connection: psycopg.Connection, made: Made) -> None:
    """One flipped byte in a committed part stops its shard; the table stays as it was."""
    index = reconcile(connection, made).index
    before = fingerprint(connection, index)
    commit = made.add("00002", version=2)
    part = Path(made.objects.uri(commit.parts[1].path))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(StoreError, match="differs from the file that was committed"):
        reconcile(connection, made)
    assert fingerprint(connection, index) == before


def test_a_missing_part_is_refused(connection: psycopg.Connection, made: Made) -> None:
    """The error names a part deleted after its commit, and nothing of its shard is loaded."""
    index = reconcile(connection, made).index
    before = fingerprint(connection, index)
    commit = made.add("00002", version=2)
    Path(made.objects.uri(commit.parts[0].path)).unlink()
    with pytest.raises(StoreError, match="is committed but missing"):
        reconcile(connection, made)
    assert fingerprint(connection, index) == before


@both_types
def test_a_vector_that_is_not_finite_is_refused(connection: psycopg.Connection, made: Made) -> None:
    """A NaN that passed all earlier checks is rejected by the table."""
    index = reconcile(connection, made).index
    before = fingerprint(connection, index)
    vectors = clustered(3, 1)
    vectors[1, 5] = np.nan
    made.add("00002", version=2, table=table_of(["a", "b", "c"], [None] * 3, vectors))
    with pytest.raises(psycopg.DataError, match="NaN"):
        reconcile(connection, made)
    assert fingerprint(connection, index) == before


def test_two_models_under_one_name(connection: psycopg.Connection, made: Made) -> None:
    """Commits of other weights under the same slug are refused, with both hashes to pin."""
    impostor = Made(made.objects, Model(weights="e" * 64))
    impostor.add("00007")
    with pytest.raises(ModelError, match=r"shard 00007 .* weights .sha256 e+ instead .* pin it"):
        reconcile(connection, made)


def test_an_empty_shard(connection: psycopg.Connection, made: Made) -> None:
    """A shard whose images were all rejected is in the ledger with no rows."""
    made.add("00004", 0)
    index = reconcile(connection, made).index
    assert tables.ledger(connection, index)["00004"].rows == 0
    assert made.model.dim == DIM
