"""An erased image is gone from search, tables, files and older versions, and never comes back."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from clip_assets import catalog
from clip_assets.cli.app import app
from clip_assets.erasure.erase import erase
from clip_assets.errors import StoreError
from clip_assets.index import erasure as database
from clip_assets.index import integrity, load, tables
from clip_assets.index.spec import IndexSpec
from clip_assets.index.vector_type import VectorType
from clip_assets.judgements import judgements
from clip_assets.judgements.judgements import HumanJudgement
from clip_assets.judgements.query import Query
from clip_assets.lake.lake import Lake
from clip_assets.node import embed
from clip_assets.node.job import EmbedJob
from clip_assets.release import release
from clip_assets.search import search
from clip_assets.source.open import open_source
from clip_assets.status import collection_status
from clip_assets.store import commit as commits
from clip_assets.store import erased, parquet
from clip_assets.store.commit import Commit
from clip_assets.store.erased import Receipt
from tests.integration.photos import COPY, ERASED, IMAGES, OTHER, Photos
from tests.integration.support import COLLECTION

GONE = {ERASED, COPY}


def quiet(line: str) -> None:
    """Discards progress messages."""


def erase_one(connection: psycopg.Connection, photos: Photos) -> Receipt:
    (receipt,) = erase(connection, photos.objects, [ERASED], "asked for", quiet)
    return receipt


def _said(query: Query, image_id: str) -> HumanJudgement:
    return HumanJudgement(COLLECTION, query, image_id, True, "ann", judgements.now())


def _found(connection: psycopg.Connection, query: str, *values: object) -> set[str]:
    return {row[0] for row in connection.execute(query, values)}


def test_an_erased_image_is_gone_from_every_answer(
    connection: psycopg.Connection, photos: Photos
) -> None:
    """It is gone from search, lookup by id, SQL views and functions, thumbnails and judgements."""
    live = search.live(connection)
    vector = search.vector_of(connection, live, ERASED)
    assert vector is not None
    assert {hit.image_id for hit in search.search(connection, live, vector, 2).hits} == GONE
    text, like = Query.of(text="x"), Query.of(image_id=ERASED)
    both = Query((*text.terms, *like.terms))
    said = [_said(like, OTHER), _said(text, COPY), _said(both, OTHER), _said(text, OTHER)]
    judgements.record(connection, said)
    receipt = erase_one(connection, photos)
    kept = judgements.listed(connection, COLLECTION)
    assert [(one.query, one.image_id) for one in kept] == [(text, OTHER)]
    found = {hit.image_id for hit in search.search(connection, live, vector, IMAGES).hits}
    assert len(found) == IMAGES - 2
    assert not found & GONE
    assert search.image(connection, live, ERASED) is None
    assert search.vector_of(connection, live, ERASED) is None
    assert not _found(connection, "SELECT image_id FROM photos.images") & GONE
    by_sql = f"SELECT image_id FROM photos.search('{vector.tolist()}'::halfvec, 100)"
    assert not _found(connection, by_sql) & GONE
    assert not _found(connection, "SELECT image_id FROM photos.similar(%s, 100)", OTHER) & GONE
    assert _found(connection, "SELECT image_id FROM photos.similar(%s, 100)", ERASED) == set()
    sha256 = receipt.images[0].sha256
    assert sha256
    assert search.thumbnail(connection, sha256) is None


def test_one_transaction_removes_it_from_all_answers(
    connection: psycopg.Connection, photos: Photos
) -> None:
    """The database step alone, before any file changes, removes it; the ledger still matches the
    table."""
    database.erase(connection, COLLECTION, "e", [ERASED])
    assert not _found(connection, "SELECT image_id FROM photos.images") & GONE
    index = tables.find(connection, COLLECTION, photos.spec.slug)
    assert integrity.damaged_shards(connection, index) == ()
    assert tables.row_count(tables.ledger(connection, index)) == IMAGES - 2


def test_it_is_removed_from_indexes_of_both_vector_types(
    connection: psycopg.Connection, photos: Photos
) -> None:
    """Indexes of halfvec and of vector both lose the image, and both ledgers still match their
    tables."""
    photos.publish(connection, VectorType.VECTOR)
    database.erase(connection, COLLECTION, "e", [ERASED])
    for vector_type in VectorType:
        index = tables.find(connection, COLLECTION, photos.spec.slug, vector_type)
        assert index.vector_type == vector_type
        assert integrity.damaged_shards(connection, index) == ()
        assert tables.row_count(tables.ledger(connection, index)) == IMAGES - 2
    assert not _found(connection, "SELECT image_id FROM photos.images") & GONE


@pytest.mark.promise("Erased images do not come back")
def test_a_rollback_after_an_erasure_does_not_bring_it_back(
    connection: psycopg.Connection, photos: Photos
) -> None:
    """The previous release is still a rollback target, without the image."""
    before = search.live(connection)
    live = photos.publish(connection, VectorType.VECTOR)
    erase_one(connection, photos)
    index = tables.find(connection, COLLECTION, photos.spec.slug, VectorType.VECTOR)
    assert search.live(connection) == live, "the live release stays live"
    assert index.judgement
    assert index.judgement["content"] == live.content != tables.content(connection, live.index_id)
    back = release.roll_back(connection, COLLECTION)
    assert (back.id, back.index_id) == (before.id, before.index_id)
    assert not _found(connection, "SELECT image_id FROM photos.images") & GONE


def test_it_is_removed_from_the_parquet(connection: psycopg.Connection, photos: Photos) -> None:
    """DuckDB finds neither a row nor a reject, and no committed text query names the image."""
    erase_one(connection, photos)
    with Lake(photos.objects).connect() as lake:
        rows = lake.execute("SELECT image_id FROM embeddings").fetchall()
        rejects = lake.execute("SELECT image_id FROM rejects").fetchall()
    assert len(rows) == IMAGES - 2
    assert not {name for (name,) in rows + rejects} & GONE
    for path in commits.newest(photos.objects, photos.spec.slug).values():
        queries = commits.read_part(photos.objects, commits.read_path(photos.objects, path).queries)
        assert not set(queries.column("image_id").to_pylist()) & GONE


def _traces(photos: Photos) -> set[str]:
    """Files of the collection that contain the image's URI, its caption or its hash."""
    folder = photos.objects.folder
    assert folder
    sha256 = hashlib.sha256((photos.pictures / ERASED).read_bytes()).hexdigest()
    words = [b"picture number 7", sha256.encode(), f"pictures/{ERASED}".encode()]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        path.relative_to(folder).as_posix()
        for path in files
        if any(word in _uncompressed(path) for word in words)
    }


def _uncompressed(path: Path) -> bytes:
    if path.suffix != ".parquet":
        return path.read_bytes()
    table = parquet.from_bytes(path.read_bytes(), str(path))
    return repr((table.to_pydict(), table.schema.metadata)).encode()


def test_no_file_but_the_receipt_has_a_trace(
    connection: psycopg.Connection, photos: Photos
) -> None:
    """URI, caption and hash are in no file, except for the hash in the receipt."""
    before = _traces(photos)
    assert len(before) >= 4, "catalog, part and queries of two images"
    receipt = erase_one(connection, photos)
    assert _traces(photos) == {erased.receipt_path(receipt.request.erasure)}
    text = receipt.model_dump_json()
    assert "picture number" not in text


def test_the_receipt_is_complete(connection: psycopg.Connection, photos: Photos) -> None:
    """It says who erased which images, when and why, and which files were replaced or deleted."""
    slug = photos.spec.slug
    old = commits.read_path(photos.objects, commits.newest(photos.objects, slug)["00000"])
    receipt = erase_one(connection, photos)
    new = commits.read_path(photos.objects, commits.newest(photos.objects, slug)["00000"])
    picture = hashlib.sha256((photos.pictures / ERASED).read_bytes()).hexdigest()
    index = tables.find(connection, COLLECTION, slug)
    assert [(i.image_id, i.sha256, i.copy_of_asked, i.indexes) for i in receipt.images] == [
        (ERASED, picture, False, (index.index_id,)),
        (COPY, picture, True, (index.index_id,)),
    ]
    assert receipt.request.reason == "asked for"
    assert receipt.request.requested_by
    assert receipt.request.requested_at <= receipt.answers_clear_at <= receipt.completed_at
    assert receipt.rows_deleted == {str(index.index_id): 2}
    changed = {file.old_sha256: file.new_sha256 for file in receipt.files}
    assert changed[old.digest] == new.digest
    for was, became in zip(old.parts, new.parts, strict=True):
        assert changed.get(was.sha256, was.sha256) == became.sha256
        assert was.path in receipt.deleted
        assert not photos.objects.exists(was.path)
    assert receipt.vacuumed == (tables.table_name(index.index_id), "thumbnail")
    path = erased.receipt_path(receipt.request.erasure)
    assert Receipt.model_validate_json(photos.objects.get(path)) == receipt
    assert not photos.objects.exists(erased.journal_path(receipt.request.erasure))


def _backfill(connection: psycopg.Connection, photos: Photos) -> None:
    """The steps of `clip-assets backfill`: catalog, embeddings, index, release."""
    head = photos.head
    listed = open_source(head.source).list()
    head = catalog.refresh(photos.objects, COLLECTION, head.source, listed, 10)
    job = EmbedJob(
        job_id="again", run_id="run-2", collection=COLLECTION, model=photos.spec,
        shards=tuple(shard.shard for shard in head.shards), part_rows=7, max_reject_share=1,
    )  # fmt: skip
    assert embed.run(photos.objects, job) == 0
    photos.publish(connection)


@pytest.mark.promise("Erased images do not come back")
def test_a_backfill_does_not_bring_it_back(connection: psycopg.Connection, photos: Photos) -> None:
    """Although the file is still in the source, it returns neither under its name nor another."""
    erase_one(connection, photos)
    versions = commits.newest(photos.objects, photos.spec.slug)
    renamed = photos.pictures / "99999.png"
    shutil.copy(photos.pictures / ERASED, renamed)
    try:
        _backfill(connection, photos)
    finally:
        renamed.unlink()
    again = commits.newest(photos.objects, photos.spec.slug)
    assert {shard: again[shard] for shard in versions} == versions, "nothing was embedded again"
    names = _found(connection, "SELECT image_id FROM photos.images")
    assert not names & {*GONE, "99999.png"}
    with Lake(photos.objects).connect() as lake:
        assert lake.execute("SELECT image_id, reason FROM rejects").fetchall() == [
            ("99999.png", "erased: this file came back under another name")
        ]


@pytest.mark.promise("Erased images do not come back")
def test_a_job_that_began_before_an_erasure_leaves_no_file(
    connection: psycopg.Connection, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It embeds a shard with the image and is about to commit while the image is erased."""
    commit = embed._Work._commit

    def late(*arguments: Any) -> Commit:
        ours = commit(*arguments)
        erase_one(connection, photos)
        return ours

    monkeypatch.setattr(embed._Work, "_commit", late)
    changed = photos.pictures / "00006.png"
    before = changed.read_bytes()
    shutil.copy(photos.pictures / "00009.png", changed)
    try:
        with pytest.raises(StoreError, match="erased while it was embedded"):
            _backfill(connection, photos)
    finally:
        changed.write_bytes(before)
    assert {path.split("/")[0] for path in _traces(photos)} == {erased.FOLDER}


def test_an_erasure_causes_no_new_computation(
    connection: psycopg.Connection, photos: Photos
) -> None:
    """Catalog, embeddings and index agree at once: no shard is embedded or loaded again."""
    erase_one(connection, photos)
    asked = IndexSpec(COLLECTION, photos.spec)
    done = load.reconcile(connection, photos.objects, asked, photos.current)
    assert (done.loaded, len(done.unchanged)) == ([], 3)
    status = collection_status(connection, photos.objects, COLLECTION)
    assert status
    assert (status.catalog.images, status.models[0].behind) == (IMAGES - 2, ())
    photos.publish(connection)
    status = collection_status(connection, photos.objects, COLLECTION)
    assert status
    assert status.current


def test_loading_an_older_commit_leaves_it_out(
    connection: psycopg.Connection, photos: Photos
) -> None:
    """A loader that still has the old commit does not load the erased image."""
    database.erase(connection, COLLECTION, "e", [ERASED])
    index = tables.find(connection, COLLECTION, photos.spec.slug)
    connection.execute(f"TRUNCATE clip_assets.{tables.table_name(index.index_id)}")
    connection.execute("DELETE FROM clip_assets.ledger")
    asked = IndexSpec(COLLECTION, photos.spec)
    done = load.reconcile(connection, photos.objects, asked, photos.current)
    assert len(done.loaded) == 3
    assert not _found(connection, "SELECT image_id FROM photos.images") & GONE
    assert integrity.damaged_shards(connection, index) == ()


def test_snapshots_made_earlier_are_deleted(connection: psycopg.Connection, photos: Photos) -> None:
    """Older snapshots contain the image, so they are deleted, their pointer first."""
    for name in ("snapshots/latest.json", "snapshots/one/manifest.json", "snapshots/one/piece"):
        photos.objects.put(name, b"{}")
    receipt = erase_one(connection, photos)
    assert [path for path in receipt.deleted if path.startswith("snapshots")] == [
        "snapshots/latest.json",
        "snapshots/one/manifest.json",
        "snapshots/one/piece",
    ]
    assert not [*photos.objects.list("snapshots")]


def test_readers_cannot_read_the_list_of_erased_images(
    connection: psycopg.Connection, photos: Photos
) -> None:
    """Analysts must not see the names of erased images."""
    connection.execute("SET ROLE clip_reader")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT * FROM clip_assets.erased")


def test_an_unknown_image_refuses_the_whole_request(
    connection: psycopg.Connection, photos: Photos
) -> None:
    """A misspelt id is an error before anything changes; known ids in the request stay, too."""
    with pytest.raises(StoreError, match=r"photos has no image nothing\.png"):
        erase(connection, photos.objects, [ERASED, "nothing.png"], "", quiet)
    assert not [*photos.objects.list(erased.FOLDER)]
    assert ERASED in _found(connection, "SELECT image_id FROM photos.images")


def test_the_command_prints_the_path_of_the_receipt(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ids, `clip-assets erase` says that no erasure was interrupted."""
    assert photos.objects.folder
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(photos.objects.folder.parent))
    result = CliRunner().invoke(app, ["erase", COLLECTION, ERASED, "--reason", "by request"])
    assert result.exit_code == 0, result.output
    (receipt,) = erased.receipts(photos.objects)
    assert receipt.request.reason == "by request"
    path = erased.receipt_path(receipt.request.erasure)
    assert path in result.output.replace("\n", "")
    result = CliRunner().invoke(app, ["erase", COLLECTION])
    assert "No erasure of photos was interrupted" in result.output
