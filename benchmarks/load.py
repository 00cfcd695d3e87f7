"""Rows per second into Postgres: our load, other ways of loading, and a limit.

    .venv/bin/python -m pip install -c constraints.txt -e '.[benchmarks]'
    .venv/bin/python -m benchmarks.load --rows 50000 --dim 512

The limit is the server's own COPY from files with the same bytes, into the same table with the same
two unique indexes, in one transaction. Each way alternates with the limit, so that both run under
the same conditions; the printed rates are medians over the turns. On a loaded machine, compare the
CPU time per row instead (the server's is that of one connection). If the server's equals that of
the limit, and the client's is smaller, then only Postgres limits the load once each has its own
core. The product itself uses `reconcile`, which reads, verifies and loads several shards at once.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import psycopg
import pyarrow as pa
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from psycopg import sql

from benchmarks import clock, made_up
from benchmarks.clock import Spent
from clip_assets.index import binary, load, tables
from clip_assets.index.copy import ahead, copy_shard
from clip_assets.index.statements import statement
from clip_assets.postgres.connect import another_connection, connect_owner
from clip_assets.settings import Settings
from clip_assets.store import parquet
from clip_assets.store.objects import Objects

SLOW_ROWS = 2_000
PART_ROWS = 2_000
THUMBNAIL_BYTES = 3_200  # as in the sample collection
BATCH_ROWS = 1_000
SHARDS = 4

Way = Callable[[int], None]
Files = tuple[Path, Path]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    rows = arguments.rows
    with connect_owner(Settings()) as connection, tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # for the server to read
        register_vector(connection)
        ways = Ways(connection, Path(folder), rows, arguments.dim, arguments.turns)
        print(f"{'':<64}{'CPU µs per row':>32}")
        print(
            f"{'way':<46}{'rows/s':>9}{'limit':>9}{'ratio':>8}"
            f"{'server':>10}{'limit':>8}{'client':>8}"
        )
        ways.compare("bytes framed first, then sent", ways.sent, ways.server_copy, rows)
        ways.compare("ours: framed from Arrow while sending", ways.framed, ways.server_copy, rows)
        ways.compare("ours: a parquet shard with thumbnails", ways.shard, ways.copies, rows)
        ways.compare("ours: reconcile, as the product uses it", ways.reconcile, ways.copies, rows)
        ways.compare("the same, to as many COPYs", ways.reconcile, ways.copies_at_once, rows)
        ways.compare("ADBC: ingest as real[], then cast", ways.adbc, ways.server_copy, rows)
        ways.compare("pgvector-python: COPY row by row", ways.per_row, ways.server_copy)
        ways.compare("text COPY", ways.text_copy, ways.server_copy)
        ways.compare("executemany", ways.executemany, ways.server_copy)
        ways.compare("ChromaDB: add (also builds its HNSW)", ways.chroma, ways.server_copy)
        connection.execute("TRUNCATE clip_assets.thumbnail, clip_assets.ledger")


class Ways:
    """Each method loads the first `count` rows into a fresh table."""

    def __init__(
        self, connection: psycopg.Connection, folder: Path, rows: int, dim: int, turns: int
    ) -> None:
        self.connection, self.folder, self.turns = connection, folder, turns
        self.whole = made_up.Shards(Objects(str(folder / "whole")), dim)
        self.split = made_up.Shards(Objects(str(folder / "split")), dim)
        self.index = tables.ensure(connection, made_up.INDEX, self.whole.identity)
        self.parts = [
            made_up.image_table(
                made_up.image_vectors(min(PART_ROWS, rows - first), dim, first),
                first,
                THUMBNAIL_BYTES,
            )
            for first in range(0, rows, PART_ROWS)
        ]
        self.commit = self.whole.add(0, self.parts)
        self.commits = [
            self.split.add(number, self.parts[number::SHARDS]) for number in range(SHARDS)
        ]
        self.table = pa.concat_tables(self.parts)
        self.slow_file = self._file("slow", self._framed(self.table.slice(0, SLOW_ROWS)))
        self.files = self._files("00000", self.table)
        self.files_at_once = [
            self._files(f"at-once-{n}", pa.concat_tables(self.parts[n :: load.LOADERS]))
            for n in range(load.LOADERS)
        ]

    def compare(self, name: str, way: Way, limit: Way, rows: int = SLOW_ROWS) -> None:
        turns = [(self._spent(way, rows), self._spent(limit, rows)) for _ in range(self.turns)]
        ours, theirs = zip(*turns, strict=True)
        rate, best = (rows / median(one.wall for one in some) for some in (ours, theirs))
        server, least = (min(one.server for one in some) for some in (ours, theirs))
        client = min(one.client for one in ours)
        print(
            f"{name:<46}{rate:>9,.0f}{best:>9,.0f}{rate / best:>8.3f}"
            f"{server * 1e6 / rows:>10.1f}{least * 1e6 / rows:>8.1f}{client * 1e6 / rows:>8.1f}",
            flush=True,
        )

    def _spent(self, way: Way, count: int) -> Spent:
        of = self.index
        self._run(sql.SQL("DROP TABLE clip_assets.{}").format(of.table))
        tables.create_table(self.connection, of.index_id, of.identity.dim, of.vectors)
        self._run("TRUNCATE clip_assets.thumbnail, clip_assets.ledger")
        self._run("CHECKPOINT")  # otherwise one method would write the dirty pages of another
        before = clock.read(self.connection)
        with self.connection.transaction():
            way(count)
        return clock.read(self.connection) - before

    def sent(self, count: int) -> None:
        with self._copy() as copy, self.files[0].open("rb") as file:
            while chunk := file.read(1 << 20):
                copy.write(chunk)

    def framed(self, count: int) -> None:
        with self._copy() as copy:
            copy.write(binary.HEADER)
            for data in ahead(self._framed(self.table)):
                copy.write(data)
            copy.write(binary.TRAILER)

    def shard(self, count: int) -> None:
        copy_shard(self.connection, self.whole.objects, self.index, self.commit)

    def reconcile(self, count: int) -> None:
        shards = [commit.at for commit in self.commits]
        done = load.reconcile(self.connection, self.split.objects, made_up.INDEX, shards)
        assert len(done.loaded) == SHARDS

    def server_copy(self, count: int) -> None:
        file = self.slow_file if count == SLOW_ROWS else self.files[0]
        self._copy_file(self.connection, "copy_rows", file)

    def copies(self, count: int) -> None:
        self._copy_both(self.connection, self.files)

    def copies_at_once(self, count: int) -> None:
        with ExitStack() as opened, ThreadPoolExecutor(load.LOADERS) as threads:
            connections = [
                opened.enter_context(another_connection(self.connection))
                for _ in self.files_at_once
            ]
            list(threads.map(self._copy_both, connections, self.files_at_once))

    def per_row(self, count: int) -> None:
        with self._copy() as copy:
            copy.set_types(["text", "int4", *["text"] * 4, "int4", "int4", "halfvec"])
            for row in self._python_rows(count):
                copy.write_row(row)

    def text_copy(self, count: int) -> None:
        command = statement("copy_rows", table=self.index.table, columns=sql.SQL("")).as_string(
            self.connection
        )
        command = command.replace("(FORMAT binary)", "")
        with self.connection.cursor().copy(command.encode()) as copy:
            for row in self._python_rows(count):
                copy.write_row([*row[:-1], row[-1].to_text()])

    def executemany(self, count: int) -> None:
        query = sql.SQL("INSERT INTO clip_assets.{} VALUES ({})").format(
            self.index.table, sql.SQL(", ").join([sql.Placeholder()] * 9)
        )
        self.connection.cursor().executemany(query, list(self._python_rows(count)))

    def adbc(self, count: int) -> None:
        import adbc_driver_postgresql.dbapi

        with adbc_driver_postgresql.dbapi.connect(self.connection.info.dsn) as other:
            with other.cursor() as cursor:
                cursor.adbc_ingest("adbc_rows", self._adbc_table(), mode="create", temporary=True)
                cursor.execute(
                    f"INSERT INTO clip_assets.{tables.table_name(self.index.index_id)} "
                    "SELECT shard, row, image_id, uri, caption, sha256, width, height, "
                    "embedding::halfvec FROM adbc_rows"
                )
            other.commit()

    def chroma(self, count: int) -> None:
        import chromadb

        with tempfile.TemporaryDirectory() as folder:
            collection = chromadb.PersistentClient(folder).create_collection(
                "bench", configuration={"hnsw": {"space": "cosine"}}
            )
            rows = self.table.slice(0, count)
            details = rows.select(["uri", "sha256", "width", "height"]).to_pylist()
            ids, vectors = rows.column("image_id").to_pylist(), parquet.vectors(rows)
            for start in range(0, count, BATCH_ROWS):
                these = slice(start, start + BATCH_ROWS)
                collection.add(ids[these], vectors[these], details[these])

    def _framed(self, table: pa.Table, shard: str = "00000") -> Iterator[memoryview]:
        first = 0
        for batch in table.select(binary.IMAGE_COLUMNS).to_batches(BATCH_ROWS):
            yield binary.image_rows(shard, first, batch, self.index.vector_type).data
            first += len(batch)

    def _python_rows(self, count: int) -> Iterator[tuple[object, ...]]:
        for number, row in enumerate(self.table.slice(0, count).to_pylist()):
            yield (
                "00000", number, row["image_id"], row["uri"], row["caption"], row["sha256"],
                row["width"], row["height"], HalfVector(row["embedding"]),
            )  # fmt: skip

    def _adbc_table(self) -> pa.Table:
        table = self.table.select(binary.IMAGE_COLUMNS)
        vectors = table.column("embedding").cast(pa.list_(pa.float32()))
        numbers = pa.array(range(len(table)), pa.int32())
        return (
            table.set_column(6, "embedding", vectors)
            .append_column("row", numbers)
            .append_column("shard", pa.array(["00000"] * len(table)))
        )

    def _copy(self) -> psycopg.Copy:
        return self.connection.cursor().copy(
            statement("copy_rows", table=self.index.table, columns=sql.SQL(""))
        )

    def _copy_both(self, connection: psycopg.Connection, files: Files) -> None:
        with connection.transaction():
            connection.execute(statement("stage_thumbnails"))
            self._copy_file(connection, "copy_rows", files[0])
            self._copy_file(connection, "copy_thumbnails", files[1])
            connection.execute(statement("keep_thumbnails"))

    def _copy_file(self, connection: psycopg.Connection, name: str, file: Path) -> None:
        command = statement(name, columns=sql.SQL(""), table=self.index.table).as_string(connection)
        connection.execute(command.replace("STDIN", f"'{file}'").encode())

    def _files(self, shard: str, table: pa.Table) -> Files:
        """Files with rows and thumbnails in the format of COPY."""
        batches = table.select(binary.THUMBNAIL_COLUMNS).to_batches(BATCH_ROWS)
        return (
            self._file(f"rows-{shard}", self._framed(table, shard)),
            self._file(f"thumbnails-{shard}", map(binary.thumbnail_rows, batches)),
        )

    def _file(self, name: str, chunks: Iterator[memoryview]) -> Path:
        path = self.folder / f"{name}.bin"
        with path.open("wb") as file:
            for chunk in [binary.HEADER, *chunks, binary.TRAILER]:
                file.write(chunk)
        path.chmod(0o644)
        return path

    def _run(self, command: bytes | str | sql.Composed) -> None:
        self.connection.execute(command)


if __name__ == "__main__":
    main()
