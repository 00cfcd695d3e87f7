"""Rows a second into Postgres: ours, against the ways people write first and a physical limit.

    .venv/bin/python benchmarks/load.py --rows 50000 --dim 512

The limit is the server's own COPY of a file that holds the very same bytes. Every way loads the
same halfvec column of a fresh table without an index, in one transaction.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from psycopg import sql

from clip_assets import postgres
from clip_assets.index import binary
from clip_assets.index.statements import statement
from clip_assets.settings import Settings
from clip_assets.store import parquet

TABLE = sql.Identifier("bench_load")
SLOW_ROWS = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=512)
    arguments = parser.parse_args()
    table = made_up(arguments.rows, arguments.dim)
    with postgres.connect_owner(Settings()) as connection:
        register_vector(connection)
        ways = Ways(connection, table, arguments.dim)
        limit = ways.rate(ways.server_copy, arguments.rows)
        print(f"{'way':<44}{'rows/s':>10}{'ratio to the limit':>22}")
        say("server-side COPY of the same bytes (limit)", limit, limit)
        say("ours: binary COPY from Arrow columns", ways.rate(ways.ours, arguments.rows), limit)
        say("pgvector-python: binary COPY, row by row", ways.rate(ways.per_row, SLOW_ROWS), limit)
        say("text COPY", ways.rate(ways.text_copy, SLOW_ROWS), limit)
        say("executemany", ways.rate(ways.executemany, SLOW_ROWS), limit)
        connection.execute(sql.SQL("DROP TABLE IF EXISTS clip_assets.{}").format(TABLE))
    print(f"peak memory of this process: {peak_mib():.0f} MiB, the table in it included")


class Ways:
    """Each method loads the first `count` rows."""

    def __init__(self, connection: psycopg.Connection, table: pa.Table, dim: int) -> None:
        self.connection, self.table, self.dim = connection, table, dim

    def rate(self, way: Callable[[int], None], count: int) -> float:
        """Rows a second, the best of three."""
        return max(self._once(way, count) for _ in range(3))

    def _once(self, way: Callable[[int], None], count: int) -> float:
        self.connection.execute(sql.SQL("DROP TABLE IF EXISTS clip_assets.{}").format(TABLE))
        self.connection.execute(statement("create_table", table=TABLE, dim=sql.Literal(self.dim)))
        started = time.perf_counter()
        with self.connection.transaction():
            way(count)
        return count / (time.perf_counter() - started)

    def ours(self, count: int) -> None:
        rows = binary.image_rows("00000", 0, self.table.slice(0, count))
        with self.connection.cursor().copy(statement("copy_rows", table=TABLE)) as copy:
            copy.write(binary.HEADER)
            for chunk in rows:
                copy.write(chunk)
            copy.write(binary.TRAILER)

    def server_copy(self, count: int) -> None:
        path = self._file(count)
        command = statement("copy_rows", table=TABLE).as_string(self.connection)
        self.connection.execute(command.replace("STDIN", f"'{path}'").encode())

    def _file(self, count: int) -> Path:
        path = Path(tempfile.gettempdir()) / f"bench_load_{count}_{self.dim}.bin"
        if not path.exists():
            rows = binary.image_rows("00000", 0, self.table.slice(0, count))
            path.write_bytes(binary.HEADER + b"".join(rows) + binary.TRAILER)
            path.chmod(0o644)
        return path

    def per_row(self, count: int) -> None:
        with self.connection.cursor().copy(statement("copy_rows", table=TABLE)) as copy:
            copy.set_types(["text", "int4", *["text"] * 4, "int4", "int4", "halfvec"])
            for row in self._python_rows(count):
                copy.write_row(row)

    def text_copy(self, count: int) -> None:
        command = statement("copy_rows", table=TABLE).as_string(self.connection)
        command = command.replace("(FORMAT binary)", "")
        with self.connection.cursor().copy(command.encode()) as copy:
            for row in self._python_rows(count):
                copy.write_row([*row[:-1], row[-1].to_text()])

    def executemany(self, count: int) -> None:
        query = f"INSERT INTO clip_assets.bench_load VALUES ({', '.join(['%s'] * 9)})"
        self.connection.cursor().executemany(query.encode(), list(self._python_rows(count)))

    def _python_rows(self, count: int) -> Iterator[tuple[object, ...]]:
        for number, row in enumerate(self.table.slice(0, count).to_pylist()):
            yield (
                "00000", number, row["image_id"], row["uri"], row["caption"], row["sha256"],
                row["width"], row["height"], HalfVector(row["embedding"]),
            )  # fmt: skip


def made_up(rows: int, dim: int) -> pa.Table:
    vectors = np.random.default_rng(0).standard_normal((rows, dim), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"folder/image-{number:08d}.jpg" for number in range(rows)]
    columns = [
        ids, [f"s3://bucket/{name}" for name in ids], [f"caption of {name}" for name in ids],
        [f"{number:064x}" for number in range(rows)], [640] * rows, [480] * rows, [b""] * rows,
        pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim),
    ]  # fmt: skip
    schema = parquet.embeddings(dim)
    return pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def say(way: str, rate: float, limit: float) -> None:
    print(f"{way:<44}{rate:>10,.0f}{rate / limit:>22.3f}", flush=True)


if __name__ == "__main__":
    main()
