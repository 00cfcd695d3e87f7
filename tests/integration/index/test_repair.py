"""Whatever happens to a live table, one update restores it; until then `status` reports it."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from clip_assets import catalog
from clip_assets.errors import ReleaseError
from clip_assets.index import integrity, tables
from clip_assets.judge.judgement import Wanted
from clip_assets.judge.update import update_index
from clip_assets.release import release
from clip_assets.release.update import ReleaseSpec, bring_up_to_date
from clip_assets.search import search
from clip_assets.source import source_config
from clip_assets.source.open import open_source
from clip_assets.status import CollectionStatus, collection_status
from clip_assets.store import commit as commits
from tests.integration.support import (
    COLLECTION,
    Made,
    build_and_judge,
    clustered,
    find,
    fingerprint,
    publish,
)

RECREATED = "DROP TABLE {t} CASCADE; CREATE TABLE {t} (LIKE {copy} INCLUDING ALL EXCLUDING INDEXES)"
FIFTY = "image_id IN (SELECT image_id FROM {t} ORDER BY md5(image_id) LIMIT 50)"
DAMAGES = {
    "the table dropped, views and functions with it": "DROP TABLE {t} CASCADE",
    "the table created again, empty": RECREATED,
    "all rows deleted": "DELETE FROM {t}",
    "truncated": "TRUNCATE {t}",
    "fifty rows deleted": f"DELETE FROM {{t}} WHERE {FIFTY}",
    "two rows deleted": "DELETE FROM {t} WHERE row = 3 AND shard IN ('00001', '00002')",
    "the graph dropped": "DROP INDEX {t}_hnsw",
    "the views dropped": "DROP SCHEMA photos CASCADE",
    "one function dropped": "DROP FUNCTION photos.similar",
    "rows that nobody committed": "INSERT INTO {t} SELECT '00009', row, 'x' || image_id, uri, "
    "caption, sha256, width, height, embedding FROM {t} WHERE shard = '00001'",
}
UNSEEN = {
    "fifty vectors altered": f"UPDATE {{t}} SET embedding = (SELECT embedding FROM {{t}} LIMIT 1) "
    f"WHERE {FIFTY}",
    "ids of two shards exchanged": "UPDATE {t} SET image_id = 'a' "
    "WHERE shard = '00001' AND row = 1; "
    "UPDATE {t} SET image_id = '00001-0001.jpg' WHERE shard = '00002' AND row = 1;"
    "UPDATE {t} SET image_id = '00002-0001.jpg' WHERE image_id = 'a'",
}
"""Damages that counting rows does not show."""


@pytest.fixture
def photos(released: Made, write_pictures: Callable[..., Path], tmp_path: Path) -> Made:
    """The live collection with a catalog, as an update wants it."""
    source = source_config("folder", str(write_pictures(tmp_path / "pictures", 4)))
    catalog.refresh(released.objects, COLLECTION, source, open_source(source).list(), 1)
    return released


def update(connection: psycopg.Connection, made: Made) -> list[str]:
    """What `clip-assets index` does; returns the lines of its report."""
    lines: list[str] = []
    spec = ReleaseSpec(
        COLLECTION, made.model.spec, made.vector_type, wanted=Wanted(recall=0.9), keep_indexes=3
    )
    bring_up_to_date(connection, made.objects, spec, "run-repair", lines.append)
    return lines


def answers(connection: psycopg.Connection) -> list[list[str]]:
    """The images that a hundred queries find by the service, and one by SQL."""
    live = search.live(connection)
    found = [
        [hit.image_id for hit in search.search(connection, live, query, 10).hits]
        for query in clustered(100, 9)
    ]
    similar = "SELECT image_id FROM photos.similar('00001-0007.jpg', 10)"
    return [*found, [name for (name,) in connection.execute(similar)]]


def damage(connection: psycopg.Connection, made: Made, statement: str) -> None:
    table = f"clip_assets.{search.live(connection).table}"
    connection.execute(f"CREATE TABLE public.copy AS TABLE {table}")  # type: ignore[arg-type]
    connection.execute(statement.format(t=table, copy="public.copy"))  # type: ignore[arg-type]


def status(connection: psycopg.Connection, made: Made) -> CollectionStatus:
    found = collection_status(connection, made.objects, COLLECTION)
    assert found
    return found


@pytest.mark.parametrize("kind", [*DAMAGES, *UNSEEN])
def test_a_damaged_index_is_restored(
    connection: psycopg.Connection, photos: Made, kind: str
) -> None:
    """Rows, graph, views and functions come back, a hundred queries find what they found before,
    and there is no new release: the content is the same."""
    before = answers(connection)
    live, index = search.live(connection), find(connection, photos)
    rows = fingerprint(connection, index)
    damage(connection, photos, (DAMAGES | UNSEEN)[kind])
    seen = status(connection, photos).models[0].damage
    assert bool(seen) == (kind in DAMAGES)
    update(connection, photos)
    assert status(connection, photos).models[0].damage is None
    assert fingerprint(connection, index) == rows
    assert answers(connection) == before
    assert search.live(connection) == live
    assert connection.execute("SELECT count(*) FROM photos.images").fetchone() == (200,)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("the table dropped, views and functions with it", "its table is missing"),
        ("two rows deleted", "2 shards"),
        ("the graph dropped", "its HNSW is missing"),
        ("all rows deleted", "4 shards"),
        ("one function dropped", "photos.similar missing"),
    ],
)
def test_status_names_the_damage(
    connection: psycopg.Connection, photos: Made, kind: str, words: str
) -> None:
    """It describes the damage, and the collection no longer counts as up to date."""
    assert status(connection, photos).models[0].damage is None
    damage(connection, photos, DAMAGES[kind])
    seen = status(connection, photos).models[0].damage
    assert seen
    assert words in seen


def test_the_report_says_what_is_repaired(connection: psycopg.Connection, photos: Made) -> None:
    """Its lines name the table and the shards."""
    assert not any("differs" in line for line in update(connection, photos))
    damage(connection, photos, DAMAGES["two rows deleted"])
    (line,) = [line for line in update(connection, photos) if "differs" in line]
    assert line.endswith("differs from what was loaded in 2 shards: 00001, 00002")


def test_few_damaged_rows_keep_the_graph(connection: psycopg.Connection, photos: Made) -> None:
    """They are inserted into it; if most rows are loaded again, it is built again."""
    index = find(connection, photos)
    asked = f"SELECT 'clip_assets.{index.hnsw}'::regclass::oid"
    graph = connection.execute(asked).fetchone()  # type: ignore[arg-type]
    damage(connection, photos, DAMAGES["two rows deleted"])
    update(connection, photos)
    assert connection.execute(asked).fetchone() == graph  # type: ignore[arg-type]
    connection.execute(f"DELETE FROM clip_assets.{search.live(connection).table}")  # type: ignore[arg-type]
    update(connection, photos)
    assert connection.execute(asked).fetchone() != graph  # type: ignore[arg-type]


def test_readers_keep_the_rows_of_a_shard_that_is_restored(
    database: str, connection: psycopg.Connection, photos: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a shard is loaded again, its rows and their lineage can still be read."""
    damage(connection, photos, DAMAGES["two rows deleted"])
    counts = []
    load_all = integrity.damaged_shards

    def count(*arguments: object) -> tuple[str, ...]:
        with psycopg.connect(database) as reader:
            counts.append(reader.execute("SELECT count(*) FROM photos.images").fetchone())
        return load_all(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(integrity, "damaged_shards", count)
    update(connection, photos)
    assert counts == [(198,), (200,)]


def test_a_live_index_that_is_not_the_newest_is_restored_too(
    connection: psycopg.Connection, photos: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a rollback the live index is an older one of the same model."""
    monkeypatch.setattr("clip_assets.index.growth.MANY_ROWS", 100)
    before = answers(connection)
    for shard in ("00004", "00005"):
        photos.add(shard)
    publish(connection, photos)
    release.roll_back(connection, COLLECTION)
    damage(connection, photos, DAMAGES["the table dropped, views and functions with it"])
    live = search.live(connection)
    spec = ReleaseSpec(
        COLLECTION, photos.model.spec, photos.vector_type, wanted=Wanted(recall=0.9), keep_indexes=3
    )
    update_index(connection, photos.objects, spec, spec.wanted, lambda _: None)
    release.restore_relations(connection, COLLECTION)
    assert search.live(connection) == live
    assert answers(connection) == before


def test_no_rollback_to_a_damaged_index(
    connection: psycopg.Connection, photos: Made, other: Made
) -> None:
    """The error names the damage and the remedy, and the live release stays."""
    damage(connection, photos, "SELECT 1")
    table = search.live(connection).table
    live = publish(connection, other)
    connection.execute(f"TRUNCATE clip_assets.{table}")  # type: ignore[arg-type]
    with pytest.raises(
        ReleaseError, match=r"damaged: 4 shards\. Run `clip-assets backfill photos "
    ):
        release.roll_back(connection, COLLECTION)
    assert search.live(connection) == live
    update(connection, photos)
    assert search.live(connection).table == table


def test_a_judgement_of_an_emptied_table_says_so(
    connection: psycopg.Connection, photos: Made
) -> None:
    """It is a clear error instead of an IndexError."""
    connection.execute(f"TRUNCATE clip_assets.{search.live(connection).table}")  # type: ignore[arg-type]
    with pytest.raises(ReleaseError, match="has no rows, but 200 were loaded"):
        build_and_judge(connection, photos)


def test_a_shard_whose_commit_is_gone_is_named(
    connection: psycopg.Connection, photos: Made
) -> None:
    """It cannot be loaded again; the other damaged shard is."""
    damage(connection, photos, DAMAGES["two rows deleted"])
    slug = photos.model.spec.slug
    Path(photos.objects.uri(commits.newest(photos.objects, slug)["00002"])).unlink()
    index = find(connection, photos)
    with pytest.raises((ReleaseError, FileNotFoundError)):
        update(connection, photos)
    assert integrity.damaged_shards(connection, index) == ("00002",)
    assert len(tables.ledger(connection, index)) == 4
