"""A run leaves no part of the database's password where Dagster or the machine shows it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from clip_assets import catalog
from clip_assets.assets.search_index import search_index_asset
from clip_assets.checks.search_index import search_index_checks
from clip_assets.collection import Collection
from clip_assets.resources import Installation
from clip_assets.source import source_config
from clip_assets.source.open import open_source
from tests.integration.support import COLLECTION, Made
from tests.ports import free_port
from tests.provider import Provider

CANARY = "w3aver"


def right_password(server: Provider) -> str:
    address = server.owner("CREATEROLE")
    with server.administrator() as connection:
        owner = sql.Identifier(psycopg.conninfo.conninfo_to_dict(address)["user"])
        change = sql.SQL("ALTER ROLE {} PASSWORD {}").format(owner, sql.Literal(CANARY))
        connection.execute(change)
    return make_conninfo(address, password=CANARY)


def wrong_password(server: Provider) -> str:
    return f"postgresql://postgres:{CANARY}@127.0.0.1:{server.port}/postgres"


def nobody_listens(server: Provider) -> str:
    return f"postgresql://me:{CANARY}@127.0.0.1:{free_port()}/db"


def unescaped(server: Provider) -> str:
    return f"postgresql://me:{CANARY}@{CANARY}@127.0.0.1:{server.port}/db"


@pytest.fixture
def collection(
    made: Made, write_pictures: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Collection:
    """Embedded and with a catalog, where the settings look for it; in no database yet."""
    assert made.objects.folder
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(made.objects.folder.parent))
    source = source_config("folder", str(write_pictures(tmp_path / "pictures", 4)))
    catalog.refresh(made.objects, COLLECTION, source, open_source(source).list(), 1)
    return Collection(name=COLLECTION, spec=made.model.spec, wanted_recall=0.5)


@pytest.mark.promise("No secret is shown")
@pytest.mark.parametrize("address", [right_password, wrong_password, nobody_listens, unescaped])
def test_a_run_shows_no_password(
    address: Callable[[Provider], str],
    postgres_of: Callable[[int], Provider],
    collection: Collection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither in its events and logs, which the UI shows, nor in any file of the instance, nor in
    the arguments of a process, whether the run succeeds or not."""
    monkeypatch.setenv("DATABASE_URL", address(postgres_of(18)))
    home = tmp_path / "dagster"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance, watched() as seen:
        done = dg.materialize(
            [search_index_asset(collection), *search_index_checks(collection)],
            resources={"clip_assets_installation": Installation()},
            instance=instance,
            raise_on_error=False,
        )
        assert done.success == (address is right_password)
        events = "".join(str(entry) for entry in instance.all_logs(done.run_id))
    assert "search_index" in events
    assert CANARY not in events
    stored = [path for path in home.rglob("*") if path.is_file()]
    assert stored
    assert not [path for path in stored if CANARY.encode() in path.read_bytes()]
    assert seen
    assert not [arguments for arguments in seen if CANARY in arguments]


@contextmanager
def watched() -> Iterator[set[str]]:
    """The arguments of every process that runs meanwhile, looked at twenty times a second."""
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for process in psutil.process_iter(["cmdline"]):
                seen.add(" ".join(process.info["cmdline"] or []))
            time.sleep(0.05)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        over.set()
        watching.join()
