"""Judgements as CSV: what is exported is imported as it was, and a bad file changes nothing."""

import csv
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from clip_assets.cli.app import app
from clip_assets.judgements import judgements, sheet
from clip_assets.judgements.query import JudgedTerm, Query
from clip_assets.postgres.migrate import migrate
from tests.integration.support import COLLECTION


@pytest.fixture
def run(connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Runs commands on the test's database."""
    migrate(connection)
    monkeypatch.setenv("DATABASE_URL", connection.info.dsn)
    return CliRunner()


def _stored(connection: psycopg.Connection) -> list[tuple[Query, str, bool, str]]:
    found = judgements.listed(connection, COLLECTION)
    return [(one.query, one.image_id, one.is_right, one.judged_by) for one in found]


def test_what_is_exported_is_imported_again(
    run: CliRunner, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """Texts with quotes, commas and newlines, and queries of several terms, too; a second import
    changes nothing."""
    file, copy = tmp_path / "made.csv", tmp_path / "exported.csv"
    with file.open("w", newline="", encoding="utf-8-sig") as opened:
        rows = csv.writer(opened)
        rows.writerow([*sheet.FIELDS[:-1]])
        rows.writerows([['a "cloud",\nhigh', "", "", "b.jpg", "right", "ann"],
                        ["", "a.jpg", "", "b.jpg", "Wrong", ""],
                        ["", "", '[{"text": "x, y"}, {"image_id":"a.jpg", "weight": -0.5}]',
                         "b.jpg", "right", ""]])  # fmt: skip
    done = run.invoke(app, ["judgements", "import", COLLECTION, str(file), "--by", "the test set"])
    assert done.exit_code == 0, done.output
    several = Query((JudgedTerm(image_id="a.jpg", weight=-0.5), JudgedTerm(text="x, y")))
    expected = [
        (Query.of(text='a "cloud",\nhigh'), "b.jpg", True, "ann"),
        (Query.of(image_id="a.jpg"), "b.jpg", False, "the test set"),
        (several, "b.jpg", True, "the test set"),
    ]
    assert _stored(connection) == expected
    before = judgements.listed(connection, COLLECTION)
    assert run.invoke(app, ["judgements", "export", COLLECTION, str(copy)]).exit_code == 0
    judgements.forget_collection(connection, COLLECTION)
    for _ in range(2):
        assert run.invoke(app, ["judgements", "import", COLLECTION, str(copy)]).exit_code == 0
        assert _stored(connection) == expected
    after = judgements.listed(connection, COLLECTION)
    assert [one.judged_at for one in after] == [one.judged_at for one in before]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_id,verdict\n", "The first line must name the columns"),
        ("query_text,image_id,verdict\nx,a.jpg,right\ny,a.jpg,maybe\n", "Line 3: verdict"),
        ("query_text,image_id,verdict\n,a.jpg,right\n", "Line 2: give one of"),
        ('query_terms,image_id,verdict\n"[{""text"": ""x"", ""weight"": 0}]",a.jpg,right\n',
         "Line 2: query_terms must be as"),
        ("query_text,image_id,verdict\nx,,right\n", "Line 2: image_id is empty"),
        ("query_text,image_id,verdict,judged_at\nx,a,right,today\n", "Line 2: judged_at"),
        (b"query_text,image_id,verdict\n\xff,a,right\n", "is not UTF-8"),
        (None, "cannot be read"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_whole(
    run: CliRunner, connection: psycopg.Connection, tmp_path: Path, text: object, said: str
) -> None:
    """The error names the line, and nothing of the file is stored."""
    file = tmp_path / "bad.csv"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else str(text).encode())
    done = run.invoke(app, ["judgements", "import", COLLECTION, str(file)])
    assert done.exit_code == 1
    assert said in " ".join(done.output.split())
    assert _stored(connection) == []
