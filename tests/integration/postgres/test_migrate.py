"""Migrations: each applied once, whoever comes first, and only where the program knows them."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

from clip_assets.errors import DatabaseError, NeverMigratedError
from clip_assets.index import build, tables
from clip_assets.index.spec import IndexSpec
from clip_assets.index.vector_type import VectorType
from clip_assets.judge.comparison import Comparison
from clip_assets.judge.judgement import Judgement
from clip_assets.postgres.connect import connect, connect_owner, connect_reader
from clip_assets.postgres.migrate import migrate, migrations, newest
from clip_assets.release import release
from clip_assets.search import search
from clip_assets.settings import Settings
from clip_assets.store.objects import Objects
from tests.integration.support import COLLECTION, Made, Model, clustered, publish, reconcile

DUMPS = Path(__file__).parent / "migrations"
RECORDED = "SELECT number, name, sha256, xmin::text FROM clip_assets.migration ORDER BY number"
LATEST = migrations()[-1].number
SCHEMA = {
    "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default "
    "FROM information_schema.columns WHERE table_schema = 'clip_assets'",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'clip_assets'",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) "
    "FROM pg_constraint WHERE connamespace = 'clip_assets'::regnamespace",
    "triggers": "SELECT pg_get_triggerdef(t.oid) FROM pg_trigger AS t "
    "JOIN pg_class AS c ON c.oid = tgrelid "
    "WHERE relnamespace = 'clip_assets'::regnamespace AND NOT tgisinternal",
    "functions": "SELECT proname FROM pg_proc WHERE pronamespace = 'clip_assets'::regnamespace",
    "grants": "SELECT c.relname, a.grantee::regrole::text, a.privilege_type FROM pg_class AS c, "
    "aclexplode(relacl) AS a WHERE relnamespace = 'clip_assets'::regnamespace "
    "AND a.grantee::regrole::text LIKE 'clip%'",
    "default grants": "SELECT unnest(defaclacl)::text FROM pg_default_acl",
    "schema": "SELECT nspacl::text FROM pg_namespace WHERE nspname = 'clip_assets'",
}


def _schema(address: str) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that migrations create; not the tables of indexes."""
    with psycopg.connect(address) as connection:
        found = {kind: connection.execute(asked).fetchall() for kind, asked in SCHEMA.items()}  # type: ignore[arg-type]
    return {
        kind: sorted(row for row in rows if "images_" not in str(row))
        for kind, rows in found.items()
    }


def _migrate(address: str) -> None:
    with connect(address) as connection:
        migrate(connection)


def _restore(address: str, dump: str) -> None:
    """On a separate connection, because a dump changes settings of the session."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute((DUMPS / dump).read_text())  # type: ignore[arg-type]


def test_an_empty_database(empty: str) -> None:
    """All migrations are applied once, in order, in one transaction, and recorded by name."""
    with connect(empty) as connection:
        assert newest(connection) is None
        assert migrate(connection) == migrations()
        recorded = connection.execute(RECORDED).fetchall()
        assert migrate(connection) == ()
        assert connection.execute(RECORDED).fetchall() == recorded
    assert [row[:3] for row in recorded] == [(m.number, m.name, m.sha256) for m in migrations()]
    assert len({row[3] for row in recorded}) == 1, "one transaction wrote them"


def test_they_are_numbered_without_a_gap() -> None:
    """A duplicate or missing number would be a merge mistake."""
    assert [one.number for one in migrations()] == [*range(1, LATEST + 1)]


def test_a_failed_migration_changes_nothing(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a migration fails, those before it are rolled back."""
    *before, last = migrations()
    broken = (*before, replace(last, text="SELECT 1 / 0"))
    monkeypatch.setattr("clip_assets.postgres.migrate.migrations", lambda: broken)
    with connect(empty) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            migrate(connection)
        assert newest(connection) is None


def test_two_processes_at_once(empty: str) -> None:
    """Both find an empty database; one migrates it, the other waits and finds nothing to do."""
    program = (
        "import sys; from clip_assets.postgres.connect import connect\n"
        "from clip_assets.postgres.migrate import migrate\n"
        "with connect(sys.argv[1]) as connection: print(len(migrate(connection)))"
    )
    waiting = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with psycopg.connect(empty) as gate, psycopg.connect(empty, autocommit=True) as watch:
        gate.execute("SELECT pg_advisory_xact_lock(%s)", [0x636C6970])
        started = [
            subprocess.Popen(
                [sys.executable, "-c", program, empty], stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        while watch.execute(waiting).fetchone() != (2,):
            assert all(process.poll() is None for process in started)
            watch.execute("SELECT pg_sleep(0.05)")
        gate.rollback()
        said = sorted(process.communicate()[0].strip() for process in started)
    assert said == ["0", str(LATEST)]


def test_eight_at_once(empty: str) -> None:
    """Eight connections that find an empty database end with the migrations applied once."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(_migrate, [empty] * 8))
    with psycopg.connect(empty) as connection:
        assert len({row[3] for row in connection.execute(RECORDED).fetchall()}) == 1


FILES = """
SELECT relname, oid, relfilenode FROM pg_class WHERE relkind IN ('r', 'i')
AND relnamespace = 'clip_assets'::regnamespace
AND relname !~ '^(applied_schema|migration|owner|human_judgement)' ORDER BY 1
"""
ROWS = [
    "SELECT index_id, slug, identity, spec, dim, vector_type FROM clip_assets.index ORDER BY 1",
    "SELECT *, xmin::text FROM clip_assets.ledger ORDER BY index_id, shard",
    "SELECT *, ctid::text FROM clip_assets.live",
    "SELECT release_id, content, ef_search, rows, run_id, published_at, dropped_at "
    "FROM clip_assets.release ORDER BY 1",
    "SELECT *, xmin::text FROM clip_assets.images_3 ORDER BY image_id",
    "SELECT *, xmin::text FROM clip_assets.images_2 ORDER BY image_id",
    "SELECT *, xmin::text FROM clip_assets.thumbnail ORDER BY 1",
    "SELECT * FROM photos.similar('00000-0001.jpg', 5)",
    "SELECT release_id, live, model, rows FROM photos.releases ORDER BY 1",
    "SELECT release_id, dropped_at FROM public.mine ORDER BY 1",
]


@pytest.fixture
def before_numbering(empty: str) -> str:
    """A database of the last version that did not number migrations, with a view of a user."""
    _restore(empty, "1_before_numbering.sql")
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("CREATE VIEW public.mine AS SELECT * FROM photos.releases")
    return empty


def test_a_database_from_before_numbering(before_numbering: str, tmp_path: Path) -> None:
    """Index, ledger, releases, pointer and rows stay as they are, in the same files; searches and
    rollbacks work; nothing is loaded again."""
    made = Made(Objects(str(tmp_path / "photos")), Model("third", dim=8, weights="c" * 64))
    for shard in ("00000", "00001"):
        made.add(shard, 12)
    with connect(before_numbering) as connection:
        found = [connection.execute(asked).fetchall() for asked in (FILES, *ROWS)]  # type: ignore[arg-type]
        assert all(found)
        assert migrate(connection) == migrations()
        assert [connection.execute(asked).fetchall() for asked in (FILES, *ROWS)] == found  # type: ignore[arg-type]
        loaded = reconcile(connection, made)
        assert (loaded.unchanged, loaded.loaded) == (["00000", "00001"], [])
        assert connection.execute(FILES).fetchall() == found[0]
        live = search.live(connection)
        assert (live.id, live.rows, live.identity) == (3, 24, made.model.identity)
        assert len(search.search(connection, live, clustered(1, 7, dim=8)[0], 10).hits) == 10
        assert release.roll_back(connection, COLLECTION).id == 2


def test_it_ends_with_the_schema_of_a_new_database(
    before_numbering: str, new_database: Callable[[], str]
) -> None:
    """Columns, keys, constraints, triggers and grants are the same."""
    _migrate(before_numbering)
    assert _schema(before_numbering) == _schema(new_database())


def test_stored_json_is_renamed(before_numbering: str) -> None:
    """Judgements of an older version fit today's models; overlaps and numbers stay the same."""
    plans = {"walk": "hnsw", "compare": "exact"}
    with connect(before_numbering) as connection:
        old = _stored(connection, "judgement", "report")
        migrate(connection)
        new = _stored(connection, "judgement", "comparison")
    assert {plan for one in old for plan in _values(one, "plan")} == {"walk", "compare"}
    assert any(_values(one, "beside") for one in old)
    for before, after in zip(old, new, strict=True):
        assert [plans[plan] for plan in _values(before, "plan")] == _values(after, "plan")
        assert _values(before, "beside") == _values(after, "overlap")
        assert _values(after, "beside") == []
        assert _numbers(before) == _numbers(after)
        model = Comparison if "candidate" in after else Judgement
        assert model.model_validate(after).model_dump(exclude_unset=True) == _tuples(after)


def test_an_older_comparison_is_still_shown(before_numbering: str) -> None:
    """In the UI as before, and for users in the view's column `report`."""
    with connect(before_numbering) as connection:
        migrate(connection)
        comparison = Comparison.model_validate(search.live(connection).comparison)
        asked = "SELECT report->'overlap'->>'release_id' FROM photos.releases WHERE live"
        assert connection.execute(asked).fetchone() == ("2",)
    assert comparison.overlap
    assert comparison.overlap.release_id == 2
    assert "Of the ten nearest, both find" in comparison.markdown


def _stored(connection: psycopg.Connection, *columns: str) -> list[Any]:
    """All stored judgements and comparisons."""
    first, second = columns
    return connection.cursor(row_factory=scalar_row).execute(
        "SELECT j FROM (SELECT 1 AS place, index_id AS id, judgement AS j FROM clip_assets.index "
        f"UNION ALL SELECT 2, release_id, {first} FROM clip_assets.release "
        f"UNION ALL SELECT 3, release_id, {second} FROM clip_assets.release) AS stored "
        "WHERE j IS NOT NULL ORDER BY place, id"
    ).fetchall()  # fmt: skip


def _values(stored: Any, key: str) -> list[Any]:
    """All values of the key, at any depth, in an order that its own name does not affect."""
    if isinstance(stored, list):
        return [found for one in stored for found in _values(one, key)]
    if not isinstance(stored, dict):
        return []
    here = [stored[key]] if key in stored else []
    return here + [found for name in sorted(stored) for found in _values(stored[name], key)]


def _numbers(stored: Any) -> list[float]:
    if isinstance(stored, dict | list):
        inner = stored.values() if isinstance(stored, dict) else stored
        return sorted(number for one in inner for number in _numbers(one))
    return [stored] if isinstance(stored, int | float) else []


def _tuples(stored: Any) -> Any:
    """With tuples for lists, as pydantic dumps them."""
    if isinstance(stored, dict):
        return {name: _tuples(one) for name, one in stored.items()}
    return tuple(_tuples(one) for one in stored) if isinstance(stored, list) else stored


def test_a_database_of_an_older_version(empty: str, tmp_path: Path) -> None:
    """A database made by the first schema, with a release in it, keeps that release, and takes
    the next one."""
    _restore(empty, "0_before_reports.sql")
    made = Made(Objects(str(tmp_path / "photos")))
    made.add("00000", 60)
    with connect(empty) as connection:
        connection.execute("INSERT INTO clip_assets.applied_schema VALUES ('of that version')")
        _release_of_that_version(connection, made)
        migrate(connection)
        before = search.live(connection)
        assert (before.rows, before.comparison) == (60, None)
        other = replace(made, model=Model("second", dim=48, weights="b" * 64))
        other.add("00000", 60)
        live = publish(connection, other)
        assert live.identity == other.model.identity
        assert live.comparison
        assert live.comparison["live"] is None, "that judgement has not what would be compared"
        assert release.roll_back(connection, COLLECTION) == before


def test_a_second_index_of_a_model(empty: str, new_database: Callable[[], str]) -> None:
    """A database of an older version, where a model had one index, ends with the tables and keys
    of a new one: what it has is of halfvec, one of vector may stand beside, and no third."""
    _restore(empty, "0_before_reports.sql")
    model = Model()
    with connect(empty) as connection:
        connection.execute("INSERT INTO clip_assets.applied_schema VALUES ('of that version')")
        connection.execute(
            "INSERT INTO clip_assets.index (collection, slug, identity_key, identity, spec, dim) "
            "VALUES ('photos', %s, %s, %s, %s, %s)",
            [model.spec.slug, model.identity.key, Jsonb(model.identity.model_dump()),
             Jsonb(model.spec.model_dump()), model.dim],
        )  # fmt: skip
        migrate(connection)
        assert _schema(empty) == _schema(new_database())
        for _ in range(2):
            made = [
                tables.ensure(
                    connection, IndexSpec(COLLECTION, model.spec, vector_type), model.identity
                )
                for vector_type in VectorType
            ]
            assert made[0].index_id == 1
        found = connection.execute("SELECT vector_type FROM clip_assets.index ORDER BY index_id")
        assert found.fetchall() == [("halfvec",), ("vector",)]


def _release_of_that_version(connection: psycopg.Connection, made: Made) -> None:
    # Today's loader asks for what came later; that database had none of it.
    connection.execute(
        "CREATE TABLE clip_assets.erased (collection text, image_id text, sha256 text, "
        "erasure text, copy_of_asked boolean, index_ids bigint[])"
    )
    connection.execute(
        "CREATE TABLE clip_assets.owner (collection text PRIMARY KEY, data_id text, uri text)"
    )
    connection.execute(
        "ALTER TABLE clip_assets.index ADD vector_type text, ADD columns json DEFAULT '{}', "
        "ADD UNIQUE (collection, slug, identity_key, vector_type)"
    )
    index = reconcile(connection, made).index
    connection.execute("DROP TABLE clip_assets.erased, clip_assets.owner")
    connection.execute("ALTER TABLE clip_assets.index DROP vector_type, DROP columns")
    build.build(connection, index, 60)
    connection.execute(
        "WITH made AS (INSERT INTO clip_assets.release "
        "(collection, index_id, content, ef_search, rows, judgement, run_id) "
        "VALUES ('photos', %s, %s, 40, 60, '{\"rows\": 60}', 'run-1') RETURNING *) "
        "INSERT INTO clip_assets.live SELECT collection, release_id FROM made",
        [index.index_id, tables.content(connection, index.index_id)],
    )
    connection.execute(
        "CREATE SCHEMA photos; CREATE FUNCTION photos.search(query halfvec, k int DEFAULT 10) "
        "RETURNS TABLE (image_id text) LANGUAGE sql AS 'SELECT NULL::text'"
    )


@pytest.mark.parametrize("connect_as", [connect_owner, connect_reader])
def test_a_database_that_a_newer_version_migrated(
    settings: Settings, connect_as: Callable[[Settings], psycopg.Connection]
) -> None:
    """Owners and readers get one sentence with both numbers and the remedy; nothing changes."""
    address = _address(settings)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO clip_assets.migration VALUES (%s, 'later', '')", [LATEST + 3]
        )
        connection.execute("DROP TABLE clip_assets.erased")
    before = _schema(address)
    said = f"at migration {LATEST + 3}, but .* up to {LATEST}: upgrade clip_assets"
    with pytest.raises(DatabaseError, match=said) as caught:
        connect_as(settings)
    assert str(caught.value).count(".") == 1
    assert _schema(address) == before


def test_an_older_version_without_numbers_changes_nothing(database: str) -> None:
    """A program from before migrations were numbered applies its own schema; it is refused with a
    sentence, and what it did is rolled back."""
    before = _schema(database)
    with psycopg.connect(database, autocommit=True) as connection:
        with (
            pytest.raises(psycopg.errors.RaiseException, match="upgrade clip_assets"),
            connection.transaction(),
        ):
            connection.execute("ALTER TABLE clip_assets.release ADD COLUMN report jsonb")
            connection.execute((DUMPS / "0_before_reports.sql").read_text())  # type: ignore[arg-type]
            connection.execute("DELETE FROM clip_assets.applied_schema")
            connection.execute("INSERT INTO clip_assets.applied_schema VALUES ('its own')")
        assert newest(connection) == LATEST
    assert _schema(database) == before


@pytest.mark.parametrize(
    "table",
    ["index", "ledger", "release", "live", "erased", "owner", "thumbnail", "human_judgement",
     "migration"],
)  # fmt: skip
def test_a_table_that_was_dropped_is_one_sentence(
    settings: Settings, database: str, table: str
) -> None:
    """Whoever would use it is told how to go on, and that works."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"DROP TABLE clip_assets.{table} CASCADE")  # type: ignore[arg-type]
    with pytest.raises(DatabaseError, match=r"DROP SCHEMA clip_assets CASCADE and .* `clip-assets"):
        connect_owner(settings)
    if table in ("index", "ledger", "release", "live"):
        with pytest.raises(DatabaseError, match=f"there is no table {table}"):
            connect_reader(settings)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP SCHEMA clip_assets CASCADE")
    connect_owner(settings).close()


def test_a_reader_before_any_migration(settings: Settings, empty: str) -> None:
    """It is told that nothing is released, and creates no schema."""
    with pytest.raises(NeverMigratedError, match="Nothing is released yet"):
        connect_reader(settings)
    with connect(empty) as connection:
        assert newest(connection) is None


def test_a_reader_of_an_older_schema(settings: Settings, before_numbering: str) -> None:
    """It names the command that migrates, and does not migrate by itself."""
    with pytest.raises(
        DatabaseError, match=f"at migration 0, but .* migration {LATEST}: run `clip-ass"
    ):
        connect_reader(settings)
    with connect(before_numbering) as connection:
        assert newest(connection) == 0


def _address(settings: Settings) -> str:
    assert settings.database_url
    return settings.database_url.get_secret_value()
