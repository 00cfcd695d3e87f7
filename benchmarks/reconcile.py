"""Seconds to find out that none of 10,000 shards changed, compared with 1 s and with other methods.

    .venv/bin/python -m benchmarks.reconcile --shards 10000

Each shard has the four files that the node writes; the files are on a local disk.
"""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from benchmarks import made_up
from clip_assets.index import load, tables
from clip_assets.index.statements import statement
from clip_assets.postgres.connect import connect_owner
from clip_assets.settings import Settings
from clip_assets.store import commit as commits
from clip_assets.store import paths
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion

DIM = 512
MOST_SECONDS = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=10_000)
    count = parser.parse_args().shards
    with connect_owner(Settings()) as connection, tempfile.TemporaryDirectory() as folder:
        objects = Objects(folder)
        shards = [
            ShardVersion(f"{number:05d}", 1, hashlib.sha256(b"%d" % number).hexdigest())
            for number in range(count)
        ]
        first = made_up.Shards(objects, DIM).add(0, [])
        for at in shards:
            copy_commit(Path(folder), first, at)
        index = tables.ensure(connection, made_up.INDEX, first.identity)
        fill_ledger(connection, index, first, shards)

        def reconcile() -> None:
            done = load.reconcile(connection, objects, made_up.INDEX, shards)
            assert len(done.unchanged) == count

        newest = commits.newest(objects, made_up.SPEC.slug)
        say("reconcile: compare ledger and catalog head", reconcile)
        say("list all files once", lambda: commits.newest(objects, made_up.SPEC.slug))
        say(
            "read every commit",
            lambda: [commits.read_path(objects, path) for path in newest.values()],
        )
        connection.execute("DELETE FROM clip_assets.ledger")


def copy_commit(folder: Path, first: Commit, at: ShardVersion) -> None:
    commit = first.model_copy(
        update={"shard": at.shard, "version": at.version, "catalog_digest": at.digest}
    )
    path = folder / paths.commit(made_up.SPEC.slug, at)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(commit.model_dump_json(indent=1))
    for name in ("part-00000.parquet", "rejects.parquet", "queries.parquet"):
        path.with_name(name).touch()


def fill_ledger(
    connection: psycopg.Connection, index: tables.Index, commit: Commit, shards: list[ShardVersion]
) -> None:
    rows = [
        {
            "index_id": index.index_id, "shard": at.shard, "version": at.version,
            "digest": at.digest, "commit_path": paths.commit(made_up.SPEC.slug, at), "rows": 10_000,
            "rejected": 0, "checksum": 0, "run_id": commit.run_id, "job_id": commit.job_id,
            "device": commit.device,
        }
        for at in shards
    ]  # fmt: skip
    with connection.transaction():
        connection.cursor().executemany(statement("write_ledger"), rows)


def say(what: str, do: Callable[[], object]) -> None:
    """Print the best of five runs."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        do()
        seconds.append(time.perf_counter() - started)
    best = min(seconds)
    print(f"{what:<46}{best:8.3f} s, ratio to {MOST_SECONDS:g} s {best / MOST_SECONDS:.2f}")


if __name__ == "__main__":
    main()
