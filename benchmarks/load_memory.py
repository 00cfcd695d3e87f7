"""Peak memory of a process that loads large shards, several at once; the target is 300 MB.

.venv/bin/python -m benchmarks.load_memory --rows 100000 --shards 2
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import made_up
from clip_assets.postgres.connect import connect_owner
from clip_assets.settings import Settings
from clip_assets.store.objects import Objects

DIM = 512
THUMBNAIL_BYTES = 3_200
MOST_MB = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        load(arguments.load)
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), arguments.rows, arguments.shards)
        connect_owner(Settings()).close()
        command = [sys.executable, "-m", "benchmarks.load_memory", "--load", folder]
        subprocess.run(command, check=True)


def write(folder: Path, rows: int, count: int) -> None:
    """Write shards of one part each: the worst case, which would reveal reading a whole part."""
    shards = made_up.Shards(Objects(str(folder)), DIM)
    for number in range(count):
        first = number * rows
        vectors = made_up.image_vectors(rows, DIM, first)
        made = shards.add(number, [made_up.image_table(vectors, first, THUMBNAIL_BYTES)])
    print(f"{count} shards of {made.rows} rows, {made.parts[0].bytes >> 20} MiB each")


def load(folder: str) -> None:
    from clip_assets.index import load, tables
    from clip_assets.store import commit as commits

    with connect_owner(Settings()) as connection:
        objects = Objects(folder)
        newest = commits.newest(objects, made_up.SPEC.slug)
        shards = [commits.read_path(objects, path).at for path in newest.values()]
        before = peak_mb()
        done = load.reconcile(connection, objects, made_up.INDEX, shards)
        table = tables.table_name(done.index.index_id)
        connection.execute(f"TRUNCATE clip_assets.{table}, clip_assets.thumbnail".encode())
        connection.execute("DELETE FROM clip_assets.ledger")
    peak = peak_mb()
    print(f"peak {peak:.0f} MB ({before:.0f} before); ratio to {MOST_MB} MB {peak / MOST_MB:.2f}")


def peak_mb() -> float:
    """Peak of this program alone, because getrusage would include the program that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
