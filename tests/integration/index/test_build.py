"""The HNSW build uses the machine's memory and processors, and reports progress."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from clip_assets.index import build, progress, tables
from clip_assets.index.hnsw import PARALLEL_FROM_ROWS, Planned, memory_needed
from clip_assets.index.progress import Step
from clip_assets.postgres import embedded, machine
from clip_assets.postgres.migrate import migrate
from tests.integration.support import (
    COLLECTION,
    Made,
    both_types,
    clustered,
    reconcile,
    table_of,
)

MANY = 4_000
"""Rows enough for a build to be seen at work."""


@pytest.fixture
def many(made: Made) -> Made:
    return _with_more(made, MANY)


def _with_more(made: Made, rows: int) -> Made:
    ids = [f"{number:05d}.jpg" for number in range(rows)]
    made.add("00009", table=table_of(ids, [None] * len(ids), clustered(len(ids), 1)))
    return made


def test_progress_is_seen_from_outside(
    database: str, connection: psycopg.Connection, many: Made
) -> None:
    """While one connection builds, another can read the growing progress."""
    index = reconcile(connection, many).index
    seen: list[Step] = []
    thread = threading.Thread(target=build.build, args=(connection, index, MANY))
    with psycopg.connect(database, autocommit=True) as other:
        assert progress.build(other, index) is None
        thread.start()
        while thread.is_alive():
            now = progress.build(other, index)
            seen += [now] if now else []
        assert progress.build(other, index) is None
    shares = [step.share for step in seen]
    assert shares == sorted(shares)
    assert 0 < max(shares) <= 1
    assert len(set(shares)) > 2


def test_lines_of_progress(
    connection: psycopg.Connection, many: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build reports its memory and workers, then at most one line per 5 % of progress."""
    monkeypatch.setattr(progress, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    lines: list[str] = []
    index = reconcile(connection, many).index
    assert build.build(connection, index, MANY, lines.append)
    assert "MB) and at most 0 workers" in lines[0]
    assert 2 < len(lines) <= 23
    assert all("building HNSW" in line for line in lines[1:])
    assert "with ef_construction 64, for a recall of 1.0" in lines[1]
    assert not build.build(connection, index, MANY, lines.append)


@pytest.mark.parametrize(
    ("rows", "recall", "candidates"),
    [(49_999, 0.99, 64), (50_000, 0.99, 200), (50_000, 0.95, 100), (1_000_001, 0.95, 200)],
)
def test_a_modest_recall_is_built_faster(rows: int, recall: float, candidates: int) -> None:
    """A wanted recall of 0.95 gets a faster build than 0.99, up to the measured number of rows."""
    assert Planned(rows, recall).ef_construction == candidates


@pytest.mark.parametrize("rows", [PARALLEL_FROM_ROWS - 1, PARALLEL_FROM_ROWS])
def test_memory_and_workers_of_the_machine(
    connection: psycopg.Connection, made: Made, rows: int
) -> None:
    """Few rows use one process, many use all processors but one, in half the free memory."""
    index = reconcile(connection, made).index
    lines: list[str] = []
    build.build(connection, index, rows, lines.append)
    workers = 0 if rows < PARALLEL_FROM_ROWS else machine.here().processors - 1
    assert lines[0].endswith(f"at most {workers} workers")
    given = connection.execute("SELECT pg_size_bytes(%s)", [lines[0].split()[3]]).fetchone()
    assert given
    assert 0 < given[0] <= machine.here().memory
    kept = connection.execute("SHOW maintenance_work_mem").fetchone()
    assert kept == ("64MB",), "the settings end with the build"


def test_a_graph_larger_than_the_buffers(many: Made, open_folder: Callable[[], Path]) -> None:
    """The embedded server uses a share of the memory unless configured otherwise; if the graph does
    not fit, the build reports it."""
    folder = open_folder()
    for told in (False, True):
        server = embedded.start(folder / "postgres", "delete" if told else "stop")
        lines: list[str] = []
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            migrate(connection)
            row = connection.execute(
                "SELECT pg_size_bytes(current_setting('shared_buffers'))"
            ).fetchone()
            assert row
            assert row[0] == 1 << 20 if told else 128 << 20 <= row[0] < machine.here().memory
            index = reconcile(connection, many).index
            build.build(connection, index, MANY, lines.append)
            assert ("do not fit in shared_buffers" in lines[-1]) is told
            connection.execute(
                sql.SQL("DROP INDEX clip_assets.{}").format(sql.Identifier(index.hnsw))
            )
            connection.execute("ALTER SYSTEM SET shared_buffers = '1MB'")
        server.cleanup()


@both_types
@pytest.mark.parametrize(("share", "fits"), [(1.0, True), (0.6, False)])
def test_requested_memory_holds_the_graph(
    connection: psycopg.Connection, made: Made, share: float, fits: bool
) -> None:
    """The requested memory is enough for the graph, and not much more."""
    many = _with_more(made, 12_000)
    index = reconcile(connection, many).index
    notices: list[str] = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    memory = int(share * memory_needed(12_200, many.model.dim, many.vector_type)) // 1024
    connection.execute(f"SET maintenance_work_mem = '{memory}kB'")
    connection.execute("SET max_parallel_maintenance_workers = 0")
    connection.execute(
        f"CREATE INDEX ON clip_assets.{tables.table_name(index.index_id)} "
        f"USING hnsw (embedding {many.vector_type}_cosine_ops)"
    )
    assert any("no longer fits" in notice for notice in notices) is not fits


def test_progress_names_the_current_step(connection: psycopg.Connection, made: Made) -> None:
    """Before an index exists the step is loading; with all shards loaded it is measuring."""
    key = (COLLECTION, made.model.spec.slug, made.vector_type)
    assert progress.step(connection, *key, 5) == Step("loading shards", 0, 5)
    reconcile(connection, made)
    assert progress.step(connection, *key, 5) == Step("loading shards", 4, 5)
    assert progress.step(connection, *key, 4) == Step("measuring recall")


@pytest.mark.parametrize(
    ("host", "known"),
    [("/tmp/socket", True), ("127.0.0.1", True), ("localhost", True), ("db.example.org", False)],
)
def test_a_remote_server_keeps_its_own_settings(host: str, known: bool) -> None:
    """This machine's memory is not used to size builds on another machine."""
    assert machine.runs_here(host) is known
    assert machine.here().processors <= (os.cpu_count() or 1)
