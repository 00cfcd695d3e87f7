"""A collection in a database belongs to one installation's data."""

import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from clip_assets import catalog
from clip_assets.cli.app import app
from clip_assets.erasure import erase
from clip_assets.errors import DatabaseError, StoreError
from clip_assets.index import owner, tables
from clip_assets.judge.judgement import Wanted
from clip_assets.judge.update import update_index
from clip_assets.release.update import ReleaseSpec, publish_and_retire
from clip_assets.source import source_config
from clip_assets.source.open import open_source
from clip_assets.store import erased, identity
from clip_assets.store.objects import Objects
from tests.integration.support import COLLECTION, Made, find, fingerprint, image_table, reconcile

TABLES = ["ledger", "index", "release", "live", "erased", "owner"]


@pytest.fixture
def stranger(write_pictures: Callable[..., Path], tmp_path: Path) -> Made:
    """Another installation's collection of the same name, with a shard of the same key."""
    made = Made(Objects(str(tmp_path / "elsewhere/photos")))
    made.add("00001", version=7)
    source = source_config("folder", str(write_pictures(tmp_path / "pictures", 4)))
    catalog.refresh(made.objects, COLLECTION, source, open_source(source).list(), 1)
    return made


def spec(made: Made) -> ReleaseSpec:
    return ReleaseSpec(
        COLLECTION, made.model.spec, made.vector_type, wanted=Wanted(recall=0.9), keep_indexes=3
    )


def state(connection: psycopg.Connection) -> list[list[tuple[object, ...]]]:
    """Everything that is stored but the rows of images."""
    return [
        connection.execute(f"SELECT * FROM clip_assets.{name} ORDER BY 1, 2").fetchall()  # type: ignore[arg-type]
        for name in TABLES
    ]


def test_another_installation_is_refused(
    connection: psycopg.Connection, released: Made, stranger: Made
) -> None:
    """Whatever writes the index refuses it in one sentence with both addresses and the remedies,
    before anything is written."""
    index = find(connection, released)
    before = state(connection), fingerprint(connection, index)
    ours, theirs = released.objects.uri(""), stranger.objects.uri("")
    writers = [
        lambda: reconcile(connection, stranger),
        lambda: update_index(
            connection, stranger.objects, spec(stranger), Wanted(recall=0.9), lambda _: None
        ),
        lambda: publish_and_retire(connection, stranger.objects, spec(stranger), "run-2"),
        lambda: erase.erase(connection, stranger.objects, ["00001.png"], "", lambda _: None),
    ]
    for write in writers:
        with pytest.raises(DatabaseError, match="is the index of the data at") as refused:
            write()
        said = str(refused.value)
        assert said.index("at /") < said.index(theirs)
        assert re.search(r"another collection name or another database, or hand .* over", said)
        assert said.count(". ") == 0
    assert (state(connection), fingerprint(connection, index)) == before
    assert erased.requests(stranger.objects) == []
    assert reconcile(connection, released).unchanged == released.shards
    moved = connection.execute("SELECT uri FROM clip_assets.owner").fetchone()
    assert moved == (ours.rstrip("/"),)


def test_the_command_line_says_it_in_one_sentence(released: Made, stranger: Made) -> None:
    """`clip-assets index` exits with status 1."""
    assert stranger.objects.folder
    model = stranger.model.spec
    done = CliRunner(mix_stderr=False).invoke(
        app,
        ["index", COLLECTION, "--data", str(stranger.objects.folder.parent),
         "--model", model.name, "--pretrained", str(model.pretrained)],
    )  # fmt: skip
    assert done.exit_code == 1
    assert done.stderr.startswith("error: photos in this database is the index of the data at ")
    assert done.stderr.count("\n") == 1


def test_moved_data_is_the_same_data(
    connection: psycopg.Connection, released: Made, tmp_path: Path
) -> None:
    """The id travels with the files, and the database learns the new address."""
    assert released.objects.folder
    shutil.move(released.objects.folder, tmp_path / "moved")
    moved = Made(Objects(str(tmp_path / "moved")))
    assert reconcile(connection, moved).unchanged == moved.shards
    address = connection.execute("SELECT uri FROM clip_assets.owner").fetchone()
    assert address == (str(tmp_path / "moved"),)


def test_lost_data_is_succeeded_by_what_is_made_anew(
    connection: psycopg.Connection, released: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the same path of the same machine the index is brought up to date; images that are gone
    do not stay. A server that other machines reach may be theirs, so there it is refused."""
    folder = released.objects.folder
    assert folder
    reconcile(connection, released)
    shutil.rmtree(folder)
    anew = Made(Objects(str(folder)))
    table = image_table("00001", 50, 9, anew.model.dim)  # images that were in another shard
    anew.add("00000", table=table)
    with monkeypatch.context() as patched:
        patched.setattr(owner, "_on_this_machine", lambda *_: False)
        with pytest.raises(DatabaseError, match="new or on another machine: restore"):
            reconcile(connection, anew)
    index = reconcile(connection, anew).index
    shards = f"SELECT DISTINCT shard FROM clip_assets.{tables.table_name(index.index_id)}"
    assert connection.execute(shards).fetchall() == [("00000",)]  # type: ignore[arg-type]


def test_a_database_from_before_is_claimed_by_its_data(
    connection: psycopg.Connection, released: Made, stranger: Made
) -> None:
    """Without a recorded owner, the commits in the ledger show whose index it is."""
    connection.execute("DELETE FROM clip_assets.owner")
    with pytest.raises(DatabaseError, match=r"loaded from other data than that at .*elsewhere"):
        reconcile(connection, stranger)
    assert connection.execute("SELECT FROM clip_assets.owner").fetchone() is None
    assert reconcile(connection, released).unchanged == released.shards
    with pytest.raises(DatabaseError, match="is the index of the data at"):
        reconcile(connection, stranger)


def test_the_index_can_be_handed_over(
    connection: psycopg.Connection, released: Made, stranger: Made
) -> None:
    """The statement in docs/operations.md works; then the former owner is refused."""
    connection.execute(
        "UPDATE clip_assets.owner SET data_id = %s, uri = 'here' WHERE collection = 'photos'",
        [identity.data_id(stranger.objects)],
    )
    assert reconcile(connection, stranger).loaded == ["00001"]
    with pytest.raises(DatabaseError, match="is the index of the data at"):
        reconcile(connection, released)


def test_two_that_come_first_at_once(database: str, made: Made, stranger: Made) -> None:
    """One of them owns the collection, the other is refused."""

    def claim(objects: Objects) -> str:
        with psycopg.connect(database, autocommit=True) as own:
            try:
                owner.claim(own, objects, COLLECTION)
            except DatabaseError:
                return "refused"
        return "owner"

    for _ in range(5):
        with psycopg.connect(database, autocommit=True) as own:
            own.execute("DELETE FROM clip_assets.owner")
        with ThreadPoolExecutor(4) as pool:
            said = list(pool.map(claim, [made.objects, stranger.objects] * 2))
        assert sorted(said) == ["owner", "owner", "refused", "refused"]
        assert said[:2] == said[2:]


def test_the_identity_is_made_once(tmp_path: Path) -> None:
    """Eight simultaneous calls get the same id; a damaged file is an error in one sentence."""
    objects = Objects(str(tmp_path / "photos"))
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: identity.data_id(objects), range(8)))) == 1
    objects.put("data_id.json", b"{")
    with pytest.raises(StoreError, match="is not the identity of a collection's data"):
        identity.data_id(objects)
