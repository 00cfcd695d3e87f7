"""Making a snapshot: whole or not at all, each under a name of its own, only what was judged."""

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


def test_again_gives_another_snapshot(
    snapshot: Snapshot, live: Live, settings: Settings, home: Path
) -> None:
    """The second has a new name and becomes the newest; the first stays as it was."""
    objects = Objects(str(snapshot.root))
    with psycopg.connect(live.dsn, autocommit=True) as connection:
        second = make.make(connection, settings, COLLECTION, objects, quiet)
    assert second.snapshot != snapshot.manifest.snapshot
    assert manifest.read(str(snapshot.root))[1] == second
    first = f"{snapshot.root}/{snapshot.manifest.snapshot}"
    assert manifest.read(first)[1] == snapshot.manifest
    assert nearest(replica.start(first, home / "replicas", quiet), "00003.png")


def test_of_an_index_of_vector(
    live: Live, settings: Settings, database: str, tmp_path: Path, home: Path
) -> None:
    """A replica of it answers from a column of that type, as the release does."""
    objects = Objects(str(live.data / COLLECTION))
    wide = publish(database, objects, live.data, live.release.spec, VectorType.VECTOR)
    with psycopg.connect(wide.dsn, autocommit=True) as connection:
        make.make(connection, settings, COLLECTION, Objects(str(tmp_path)), quiet)
    dsn = replica.start(str(tmp_path), home / "replicas", quiet)
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert search.live(connection).vector_type == VectorType.VECTOR
    assert nearest(dsn, "00003.png") == nearest(wide.dsn, "00003.png")


def test_nothing_is_left_of_the_scratch_postgres(
    live: Live, settings: Settings, home: Path, tmp_path: Path
) -> None:
    """Neither files nor a process stay behind."""
    with psycopg.connect(live.dsn, autocommit=True) as connection:
        make.make(connection, settings, COLLECTION, Objects(str(tmp_path)), quiet)
    assert [*home.iterdir()] == []


def test_the_pointer_moves_last(
    snapshot: Snapshot, live: Live, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut short before its manifest, a snapshot changes nothing for those who start from it."""

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest, "write", power_cut)
    objects = Objects(str(snapshot.root))
    with psycopg.connect(live.dsn, autocommit=True) as connection, pytest.raises(KeyboardInterrupt):
        make.make(connection, settings, COLLECTION, objects, quiet)
    assert len([entry for entry in objects.list() if "/piece-" in entry.path]) > 1
    assert manifest.read(str(snapshot.root))[1] == snapshot.manifest


def test_nothing_live(database: str, settings: Settings, tmp_path: Path) -> None:
    """Without a release there is nothing to make a snapshot of."""
    nothing = pytest.raises(ReleaseError, match="Nothing is released yet")
    with psycopg.connect(database, autocommit=True) as connection, nothing:
        make.make(connection, settings, COLLECTION, Objects(str(tmp_path)), quiet)


def test_another_collections_folder(snapshot: Snapshot, live: Live, settings: Settings) -> None:
    """Two collections in one folder would move each other's pointer."""
    path = snapshot.root / manifest.LATEST
    path.write_text(path.read_text().replace(COLLECTION, "other"))
    refused = pytest.raises(StoreError, match="holds snapshots of other")
    with psycopg.connect(live.dsn, autocommit=True) as connection, refused:
        make.make(connection, settings, COLLECTION, Objects(str(snapshot.root)), quiet)


def test_a_copy_found_wanting(live: Live, settings: Settings, tmp_path: Path) -> None:
    """Rows that are not the committed ones are not packed."""
    damage = f"UPDATE clip_assets.{live.release.table} SET image_id = 'x' WHERE image_id = %s"
    with psycopg.connect(live.dsn, autocommit=True) as connection:
        connection.execute(damage, ["00003.png"])
        try:
            with pytest.raises(ReleaseError, match="rows are not the committed ones"):
                make.make(connection, settings, COLLECTION, Objects(str(tmp_path)), quiet)
        finally:
            connection.execute(damage.replace("'x'", "'00003.png'"), ["x"])
    assert manifest.latest(Objects(str(tmp_path))) is None


def test_the_command_says_how_to_go_on(
    live: Live, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`clip-assets snapshot` ends with the command that starts a replica from it."""
    monkeypatch.setenv("DATABASE_URL", live.dsn)
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(live.data))
    to = str(tmp_path / "elsewhere")
    result = CliRunner().invoke(app, ["snapshot", COLLECTION, "--to", to])
    assert result.exit_code == 0, result.output
    assert f"clip-assets serve --snapshot {to}" in result.output
    dsn = replica.start(to, home / "replicas", quiet)
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert search.live(connection).id == live.release.id
