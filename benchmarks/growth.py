"""After a trial of one shard, many more shards: inserted into its graph, or loaded without it.

    .venv/bin/python -m benchmarks.growth --rows 60000

Prints how long each way takes until a graph of all rows exists, starting from the same ten thousand
rows and the same commits, and the ratio of the two. The trial is not released here, so "around"
means that its graph is dropped; beside a live index its rows would also be loaded again.
"""

import argparse
import tempfile
import time

import psycopg

from benchmarks import made_up
from clip_assets.index import build, growth, load
from clip_assets.index.tables import Index
from clip_assets.postgres.connect import connect_owner
from clip_assets.settings import Settings
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion

DIM = 512
SHARD_ROWS = 10_000
NEVER = 10**12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000, help="rows after the first 10,000")
    rows = parser.parse_args().rows
    with connect_owner(Settings()) as connection, tempfile.TemporaryDirectory() as folder:
        trial = made_up.Shards(Objects(f"{folder}/trial"), DIM)
        every = made_up.Shards(Objects(f"{folder}/every"), DIM)
        first = [_add(trial, 0)]
        all_of_them = [_add(every, number) for number in range(rows // SHARD_ROWS + 1)]
        seconds = {}
        for way, many in (("around the graph", growth.MANY_ROWS), ("into the graph", NEVER)):
            growth.MANY_ROWS = many
            _grow(connection, trial, first, rows)
            start = time.perf_counter()
            index = _grow(connection, every, all_of_them, rows)
            seconds[way] = time.perf_counter() - start
            print(f"{rows} rows, {way}: {seconds[way]:.0f} s", flush=True)
            connection.execute(f"DROP TABLE clip_assets.images_{index.index_id}".encode())
            connection.execute("TRUNCATE clip_assets.ledger, clip_assets.thumbnail")
        print(f"ratio {seconds['around the graph'] / seconds['into the graph']:.2f}")


def _add(shards: made_up.Shards, number: int) -> ShardVersion:
    first = number * SHARD_ROWS
    vectors = made_up.image_vectors(SHARD_ROWS, DIM, first)
    return shards.add(number, [made_up.image_table(vectors, first)]).at


def _grow(
    connection: psycopg.Connection, shards: made_up.Shards, current: list[ShardVersion], rows: int
) -> Index:
    done = load.reconcile(connection, shards.objects, made_up.INDEX, current)
    build.build(connection, done.index, rows, print)
    return done.index


if __name__ == "__main__":
    main()
