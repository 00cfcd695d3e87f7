"""Time limits that a provider or administrator sets are for queries, not for loads and builds."""

from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from clip_assets.index import build, integrity
from clip_assets.index.tables import Index
from clip_assets.judge import judge
from clip_assets.judge.judgement import Wanted
from clip_assets.postgres.connect import connect_owner
from clip_assets.release import release
from clip_assets.settings import Settings
from clip_assets.store.objects import Objects
from tests.integration.support import Made, find, reconcile

LIMITS = {
    "statement_timeout": "400ms",
    "lock_timeout": "400ms",
    "idle_in_transaction_session_timeout": "400ms",
    "transaction_timeout": "400ms",
    "idle_session_timeout": "400ms",
}


@pytest.fixture
def limited(database: str) -> str:
    """The database ends every statement and transaction of a new session early."""
    name = sql.Identifier(str(conninfo_to_dict(database)["dbname"]))
    with psycopg.connect(database, autocommit=True) as connection:
        known = connection.execute("SELECT name FROM pg_settings").fetchall()
        for limit, value in LIMITS.items():
            if (limit,) in known:
                setting = sql.SQL("ALTER DATABASE {} SET {} = {}")
                connection.execute(setting.format(name, sql.Identifier(limit), sql.Literal(value)))
    return database


def test_an_index_is_loaded_built_judged_and_published(limited: str, tmp_path: Path) -> None:
    """Each of these takes longer than the limits; loaders and the progress thread have connections
    of their own."""
    made = Made(Objects(str(tmp_path / "many")))
    for shard in ("00000", "00001"):
        made.add(shard, 4_000)
    with psycopg.connect(limited, autocommit=True) as ordinary, pytest.raises(psycopg.Error):
        ordinary.execute("SELECT pg_sleep(60)")
    with connect_owner(Settings()) as connection:
        index = reconcile(connection, made).index
        assert build.build(connection, index, 8_000)
        judge.judge(connection, made.objects, index, Wanted(recall=0.5))
        assert release.publish(connection, find(connection, made), "run-1")[0].rows == 8_000


def test_damage_is_looked_for_without_a_limit(
    connection: psycopg.Connection, released: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`status` counts the rows of large tables as a reader, whose limit is meant for searches."""
    shown = []

    def show(own: psycopg.Connection, _: Index) -> tuple[str, ...]:
        shown.append(own.execute("SHOW statement_timeout").fetchone())
        return ()

    monkeypatch.setattr(integrity, "miscounted_shards", show)
    connection.execute("SET statement_timeout = '60s'")
    assert integrity.visible_damage(connection, find(connection, released)) is None
    assert shown == [("0",)]
    assert connection.execute("SHOW statement_timeout").fetchone() == ("1min",)
