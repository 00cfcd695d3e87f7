"""A snapshot is made completely or not at all, has a unique name, and has passed its judgement."""

from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from clip_assets.cli.app import app
from clip_assets.errors import ReleaseError, StoreError
from clip_assets.index.vector_type import VectorType
from clip_assets.search import search
from clip_assets.settings import Settings
from clip_assets.snapshot import make, manifest, replica
from clip_assets.store.objects import Objects
from tests.integration.snapshot.conftest import Live, Snapshot, nearest, publish, quiet
from tests.integration.support import COLLECTION


@pytest.fixture
def settings(live: Live, home: Path) -> Settings:
    return Settings(home=home, data=str(live.data))


def test_a_second_snapshot_does_not_replace_the_first(
    snapshot: Snapshot, live: Live, settings: Settings, home: Path
) -> None:
    """The second has a new name and becomes the newest; the first stays usable."""
    objects = Objects(str(snapshot.root))
    with psycopg.connect(live.dsn, autocommit=True) as connection:
        second = make.make(connection, settings, COLLECTION, objects, quiet)
    assert second.snapshot != snapshot.manifest.snapshot
    assert manifest.read(str(snapshot.root))[1] == second
    first = f"{snapshot.root}/{snapshot.manifest.snapshot}"
    assert manifest.read(first)[1] == snapshot.manifest
    assert nearest(replica.start(first, home / "replicas", quiet), "00003.png")


def test_a_snapshot_keeps_the_vector_type(
    live: Live, settings: Settings, database: str, tmp_path: Path, home: Path
) -> None:
    """A replica of an index of vector answers from a column of vector, as the release does."""
    objects = Objects(str(live.data / COLLECTION))
    wide = publish(database, objects, live.data, live.release.spec, VectorType.VECTOR)
    with psycopg.connect(wide.dsn, autocommit=True) as connection:
        make.make(connection, settings, COLLECTION, Objects(str(tmp_path)), quiet)
    dsn = replica.start(str(tmp_path), home / "replicas", quiet)
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert search.live(connection).vector_type == VectorType.VECTOR
    assert nearest(dsn, "00003.png") == nearest(wide.dsn, "00003.png")


def test_nothing_is_left_of_the_scratch_postgres(made_once: Snapshot) -> None:
    """Neither files nor a process remain."""
    assert [*made_once.home.iterdir()] == []


def test_the_pointer_moves_last(
    snapshot: Snapshot, live: Live, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a snapshot is interrupted before its manifest, replicas still get the previous one."""

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest, "write", power_cut)
    objects = Objects(str(snapshot.root))
    with psycopg.connect(live.dsn, autocommit=True) as connection, pytest.raises(KeyboardInterrupt):
        make.make(connection, settings, COLLECTION, objects, quiet)
    assert len([entry for entry in objects.list() if "/piece-" in entry.path]) > 1
    assert manifest.read(str(snapshot.root))[1] == snapshot.manifest


def test_without_a_release_there_is_no_snapshot(
    database: str, settings: Settings, tmp_path: Path
) -> None:
    """The error says that nothing is released yet."""
    nothing = pytest.raises(ReleaseError, match="Nothing is released yet")
    with psycopg.connect(database, autocommit=True) as connection, nothing:
        make.make(connection, settings, COLLECTION, Objects(str(tmp_path)), quiet)


def test_the_folder_of_another_collection_is_refused(
    snapshot: Snapshot, live: Live, settings: Settings
) -> None:
    """Two collections in one folder would overwrite each other's pointer."""
    path = snapshot.root / manifest.LATEST
    path.write_text(path.read_text().replace(COLLECTION, "other"))
    refused = pytest.raises(StoreError, match="has snapshots of other")
    with psycopg.connect(live.dsn, autocommit=True) as connection, refused:
        make.make(connection, settings, COLLECTION, Objects(str(snapshot.root)), quiet)


def test_a_copy_that_fails_its_judgement_is_not_packed(
    live: Live, settings: Settings, tmp_path: Path
) -> None:
    """Rows that differ from the committed ones fail the judgement."""
    damage = f"UPDATE clip_assets.{live.release.table} SET image_id = 'x' WHERE image_id = %s"
    with psycopg.connect(live.dsn, autocommit=True) as connection:
        connection.execute(damage, ["00003.png"])
        try:
            with pytest.raises(ReleaseError, match="rows differ from the committed ones"):
                make.make(connection, settings, COLLECTION, Objects(str(tmp_path)), quiet)
        finally:
            connection.execute(damage.replace("'x'", "'00003.png'"), ["x"])
    assert manifest.latest(Objects(str(tmp_path))) is None


def test_the_command_says_how_to_start_a_replica(
    live: Live, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`clip-assets snapshot` prints the command that starts a replica from it."""
    monkeypatch.setenv("DATABASE_URL", live.dsn)
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(live.data))
    to = str(tmp_path / "elsewhere")
    result = CliRunner().invoke(app, ["snapshot", COLLECTION, "--to", to])
    assert result.exit_code == 0, result.output
    assert f"clip-assets serve --snapshot {to}" in result.output
    assert manifest.read(to)[1].release == live.release.id
