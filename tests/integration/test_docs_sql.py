"""Every SQL block of the README and the docs runs as it stands there."""

import re
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from psycopg.conninfo import make_conninfo

from clip_assets.lake.lake import open_lake
from clip_assets.model import ModelSpec
from clip_assets.postgres.connect import connect_owner
from clip_assets.settings import Settings
from clip_assets.store.objects import Objects
from tests.integration.pictures import embed_pictures
from tests.integration.support import Made, clustered, publish, table_of
from tests.provider import Provider

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    """Page and text of each fenced block whose info string is exactly this."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [(page.name, text) for page in PAGES for text in pattern.findall(page.read_text())]


def test_there_are_blocks() -> None:
    """The tests below have something to run, and no block hides under another name."""
    assert len(blocks("sql")) >= 6
    assert len(blocks("sql duckdb")) >= 2
    fences = [line for page in PAGES for line in page.read_text().splitlines() if "```sql" in line]
    kinds = ("sql", "sql duckdb", "sql administrator")
    assert len(fences) == sum(len(blocks(kind)) for kind in kinds)


def test_postgres(database: str, tmp_path: Path) -> None:
    """In order, on a live release: queries run as clip_reader and return rows."""
    made = _photos(tmp_path)
    with psycopg.connect(database, autocommit=True) as owner:
        publish(owner, made)
        for page, text in blocks("sql"):
            for statement in _statements(text):
                asks = statement.startswith("SELECT")
                owner.execute(f"SET ROLE {'clip_reader' if asks else 'none'}")  # type: ignore[arg-type]
                _run(owner, statement, page)
                owner.execute("RESET ROLE")
                if statement.startswith("CREATE TABLE public.products"):
                    owner.execute("INSERT INTO products SELECT image_id, 9 FROM photos.images")
        owner.execute("ALTER ROLE clip_reader NOLOGIN PASSWORD NULL")
        owner.execute("ALTER ROLE clip_reader RESET ALL")


def test_administrator(
    elsewhere: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statements for an administrator, run in psql, give the role all rights that it needs."""
    pasted = tmp_path / "pasted.sql"
    pasted.write_text("".join(text for _, text in blocks("sql administrator")))
    with pasted.open() as file:
        elsewhere.run("psql", elsewhere.address(), "-v", "ON_ERROR_STOP=1", stdin=file)
    address = make_conninfo(elsewhere.address("app", "clip"), password="change me")
    monkeypatch.setenv("DATABASE_URL", address)
    with connect_owner(Settings(_env_file=None)) as owner:
        publish(owner, _photos(tmp_path))
        owner.execute("SET ROLE clip_reader")
        _run(owner, "SELECT image_id FROM photos.images LIMIT 1", "postgres.md")


def test_inline_statements(database: str, tmp_path: Path) -> None:
    """Statements within the README's table run, too."""
    made = _photos(tmp_path)
    statements = re.findall(r"`(SELECT [^`]*photos\.[^`]*)`", (ROOT / "README.md").read_text())
    assert statements
    with psycopg.connect(database, autocommit=True) as connection:
        publish(connection, made)
        for statement in statements:
            _run(connection, statement, "README.md")


def test_duckdb(
    tmp_path: Path,
    write_pictures: object,
    tiny_spec: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over fifteen committed pictures, each statement gives rows; the notebook's lines run."""
    pictures = write_pictures(tmp_path / "pictures", 15)  # type: ignore[operator]
    (pictures / "99999.png").write_bytes(b"not a picture")
    embed_pictures(tmp_path / "data/photos", pictures, tiny_spec)
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(tmp_path / "data"))
    with open_lake(Settings()) as lake:
        for page, text in blocks("sql duckdb"):
            for statement in _statements(text):
                assert lake.sql(statement).fetchall(), f"{page}: {statement}"
    for _, text in blocks("python"):
        if "frame = " in text:
            names: dict[str, object] = {}
            exec(text, names)
            assert names["frame"] is not None


def _photos(tmp_path: Path) -> Made:
    """Images of the kind that the pages' statements speak of."""
    made = Made(Objects(str(tmp_path / "photos")))
    names = ["cats/tabby.jpg", "cat.jpg", *(f"cats/{number}.jpg" for number in range(48))]
    table = table_of(names, ["a red heart"] * 50, clustered(50, 1))
    columns = dict(zip(table.column_names, table.columns, strict=True))
    columns["uri"] = [f"s3://bucket/photos/2024/{name}" for name in names]
    columns["width"] = [1_600] * 50
    made.add("00000", table=pa.table(columns, schema=table.schema))
    return made


def _statements(text: str) -> list[str]:
    return [one.strip() for one in text.split(";") if one.strip()]


def _run(connection: psycopg.Connection, statement: str, page: str) -> None:
    try:
        cursor = connection.execute(statement)  # type: ignore[arg-type]
    except psycopg.Error as error:
        raise AssertionError(f"{page}: {statement}: {error}") from error
    if cursor.description:
        assert cursor.fetchall(), f"{page}: {statement}"
