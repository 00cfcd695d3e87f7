"""A replica answers exactly as the release its snapshot was made of, or does not start."""

import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from clip_assets.errors import ClipAssetsError, DatabaseError, StoreError
from clip_assets.search import search
from clip_assets.snapshot import archive, manifest, replica
from clip_assets.snapshot.manifest import Manifest, Piece
from clip_assets.store.objects import Objects
from tests import web
from tests.integration.serving.support import PATIENT_ENVIRONMENT, running, wait_until_ready
from tests.integration.serving.support import settings as serving_settings
from tests.integration.snapshot.conftest import Live, Snapshot, nearest, quiet

ASKED = {"image_id": "00007.png", "k": 10}


@pytest.fixture
def served(python: str, snapshot: Snapshot, home: Path) -> Iterator[tuple[str, Path]]:
    """A service process with the snapshot and without a database, and its home folder."""
    environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
    environment["CLIP_ASSETS_SNAPSHOT"] = str(snapshot.root)
    environment |= PATIENT_ENVIRONMENT | {"CLIP_ASSETS_SERVING_DRAIN_SECONDS": "0"}
    command = [python, "-m", "serving", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = process.stdout.readline().split()[-1]
        wait_until_ready(url, seconds=600)
        yield url, home
    finally:
        process.terminate()
        process.wait(120)


def _ask(url: str) -> dict[str, object]:
    answer = web.post(f"{url}/v1/search", json=ASKED)
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    del body["timings_ms"]
    return body


def test_a_replica_gives_the_same_answer_over_http(served: tuple[str, Path], live: Live) -> None:
    """Hits, scores, lineage, release id and date equal those of the live release."""
    url, _ = served
    with running(serving_settings(live.dsn)) as original:
        wait_until_ready(original, seconds=600)
        expected, answer = _ask(original), _ask(url)
        hit = expected["hits"][0]  # type: ignore[index]
        thumbnail = web.get(f"{original}{hit['thumbnail']}")
    assert answer == expected
    assert answer["release"]["id"] == live.release.id  # type: ignore[index]
    assert web.get(f"{url}{hit['thumbnail']}").content == thumbnail.content


def test_a_terminated_replica_stops_its_postgres(
    python: str, snapshot: Snapshot, home: Path
) -> None:
    """SIGTERM ends the service and the Postgres it started; the next start fetches nothing."""
    command = [python, "-m", "serving", "--port", "0", "--snapshot", str(snapshot.root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    cluster = home / "replicas" / snapshot.manifest.snapshot
    assert (cluster / "postmaster.pid").exists()
    process.terminate()
    process.wait(120)
    assert not (cluster / "postmaster.pid").exists()
    for piece in snapshot.manifest.pieces:
        (snapshot.root / piece.path).unlink()
    assert nearest(replica.start(str(snapshot.root), home / "replicas", quiet), "00007.png")


def test_a_replica_can_start_from_a_named_snapshot(
    snapshot: Snapshot, home: Path, live: Live
) -> None:
    """The folder of one snapshot is used as given, without the pointer to the newest."""
    (snapshot.root / manifest.LATEST).unlink()
    uri = f"{snapshot.root}/{snapshot.manifest.snapshot}"
    dsn = replica.start(uri, home / "replicas", quiet)
    assert nearest(dsn, "00007.png") == nearest(live.dsn, "00007.png")


def test_a_replica_has_nothing_but_its_release(snapshot: Snapshot, home: Path) -> None:
    """It has only the released rows and default settings, and clip_reader can read them."""
    dsn = replica.start(str(snapshot.root), home / "replicas", quiet)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET ROLE clip_reader")
        assert search.live(connection).rows == snapshot.manifest.rows
        counted = connection.execute("SELECT count(*) FROM photos.images").fetchone()
        locales = connection.execute("SELECT datcollate, datctype FROM pg_database").fetchall()
        wal_level = connection.execute("SHOW wal_level").fetchone()
    assert counted == (snapshot.manifest.rows,)
    assert set(locales) == {("C", "C")}
    assert wal_level == ("replica",), "settings of the scratch server must not be in the snapshot"


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _refused(uri: object, home: Path, error: type[ClipAssetsError], match: str) -> None:
    """Assert that starting fails with this message and leaves no folder behind."""
    with pytest.raises(error, match=match):
        replica.start(str(uri), home / "replicas", quiet)
    assert [*home.glob("replicas/*")] == []


@pytest.mark.promise("Damage is found")
def test_a_damaged_piece_is_refused(snapshot: Snapshot, home: Path) -> None:
    """One flipped bit is detected before the database starts."""
    _flip(snapshot.root / snapshot.manifest.pieces[-1].path)
    _refused(snapshot.root, home, StoreError, r"piece-\d+.tar.zst is damaged")


def test_a_missing_piece_is_named(snapshot: Snapshot, home: Path) -> None:
    """The error has the path of the missing piece."""
    (snapshot.root / snapshot.manifest.pieces[0].path).unlink()
    _refused(snapshot.root, home, StoreError, r"piece-00000.tar.zst is missing")


def test_a_changed_manifest_is_refused(snapshot: Snapshot, home: Path) -> None:
    """A manifest whose hash differs from the one in the pointer is refused, even if valid."""
    path = snapshot.root / snapshot.manifest.snapshot / "manifest.json"
    path.write_text(snapshot.manifest.model_copy(update={"rows": 1}).model_dump_json())
    _refused(snapshot.root, home, StoreError, "its manifest was changed")


def test_a_folder_without_snapshots_is_refused(tmp_path: Path, home: Path) -> None:
    """The error says how to make one."""
    _refused(tmp_path / "nothing", home, StoreError, "Make one with `clip-assets snapshot`")


@pytest.mark.parametrize("part", ["postgres", "pgvector", "machine"])
def test_files_of_another_engine_are_refused(snapshot: Snapshot, home: Path, part: str) -> None:
    """If Postgres, pgvector or the processor differs, the error names both engines."""
    engine = snapshot.manifest.engine.model_copy(update={part: "9.9"})
    changed = snapshot.manifest.model_copy(update={"engine": engine})
    (snapshot.root / manifest.LATEST).unlink()
    folder = snapshot.root / changed.snapshot
    (folder / "manifest.json").write_text(changed.model_dump_json())
    match = rf"was made by {re.escape(engine.text)}; this is Postgres \d+"
    _refused(folder, home, DatabaseError, match)


def test_a_disk_that_is_too_small_is_an_error(snapshot: Snapshot, home: Path) -> None:
    """The free space is checked before anything is fetched."""
    changed = snapshot.manifest.model_copy(update={"bytes": 1 << 60})
    (snapshot.root / manifest.LATEST).unlink()
    folder = snapshot.root / changed.snapshot
    (folder / "manifest.json").write_text(changed.model_dump_json())
    _refused(folder, home, DatabaseError, "MiB free, but the snapshot needs")


def _packed(objects: Objects, *members: tuple[str, bytes, bytes]) -> Piece:
    """Packs a hostile archive with these names, types and contents."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content)
            info.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            tar.addfile(info, io.BytesIO(content))
    data = pa.compress(raw.getvalue(), codec="zstd", asbytes=True)
    objects.put("piece", data)
    return Piece(path="piece", bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../outside", tarfile.REGTYPE),
        ("a/../../outside", tarfile.REGTYPE),
        ("link", tarfile.SYMTYPE),
        ("hard", tarfile.LNKTYPE),
        ("device", tarfile.CHRTYPE),
        ("pipe", tarfile.FIFOTYPE),
    ],
)
def test_a_hostile_archive_is_refused(tmp_path: Path, name: str, kind: bytes) -> None:
    """Nothing is written outside the folder, and only files and folders inside it."""
    objects = Objects(str(tmp_path / "bucket"))
    into = tmp_path / "into"
    into.mkdir()
    pieces = [_packed(objects, ("fine", tarfile.REGTYPE, b"x"), (name, kind, b""))]
    with pytest.raises(StoreError):
        archive.unpack(objects, pieces, into, 1_000, quiet)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["piece", "fine"]


def test_an_archive_larger_than_its_manifest_says_is_refused(tmp_path: Path) -> None:
    """Unpacking stops at the size in the manifest."""
    objects = Objects(str(tmp_path / "bucket"))
    pieces = [_packed(objects, ("zeros", tarfile.REGTYPE, bytes(1 << 20)))]
    with pytest.raises(StoreError, match="does not belong"):
        archive.unpack(objects, pieces, tmp_path, 1_000, quiet)
    assert not (tmp_path / "zeros").exists()


def test_the_stored_manifest_equals_the_returned_one(snapshot: Snapshot) -> None:
    """`manifest.json` parses to the manifest that `make` returned."""
    text = (snapshot.root / snapshot.manifest.snapshot / "manifest.json").read_text()
    assert Manifest.model_validate(json.loads(text)) == snapshot.manifest
