"""CPU-seconds that Dagster takes for a backfill of 200 shards, beside the least it could take.

    .venv/bin/python -m benchmarks.orchestration            # about six minutes on two cores

The shards are committed before, so a run has nothing to compute: what is left is the daemon, the
web server, the run workers with their imports, the checks, and an event a shard. The peer is an
asset of plain Dagster that does nothing at all, backfilled as one run in the same `dg dev`.
Counted is every process of it, ended ones too, less what it takes idle in the same time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from clip_assets import postgres
from clip_assets.node.job import EmbedJob
from tests.acceptance.dagster_api import Dagster
from tests.acceptance.dagster_project import PACKAGE, dg_dev, environment, write_project
from tests.conftest import TINY, picture

AIM = 0.2
SIZES = (25, 200)
IDLE_SECONDS = 60
NOTHING = """
import dagster as dg


@dg.asset(
    partitions_def=dg.StaticPartitionsDefinition([f"{{n:05d}}" for n in range({shards})]),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def nothing() -> None: ...
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=200)
    shards = parser.parse_args().shards
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # the embedded Postgres runs as a user of its own
        server = postgres.embedded(folder / "postgres", cleanup_mode="delete")
        env = environment(folder / "home", server.get_uri())
        project = prepared(folder, shards, env)
        with dg_dev(project, env, folder / "dg_dev.log") as dagster:
            measure(dagster, shards)


def prepared(folder: Path, shards: int, env: dict[str, str]) -> Path:
    """A project of two collections whose shards are committed, and of an asset without work."""
    (folder / "images").mkdir()
    for number in range(shards):
        (folder / f"images/{number:05d}.png").write_bytes(picture(number))
    collections = [
        {
            "collection": f"by_{size}",
            "source": {"type": "folder", "uri": str(folder / "images")},
            "shard_size": 1,
            "shards_per_run": size,
            "model": {"name": TINY, "untrained_seed": 0},
            "automate": False,
        }
        for size in SIZES
    ]
    project = write_project(folder / "project", *collections)
    (project / PACKAGE / "defs/nothing.py").write_text(NOTHING.format(shards=shards))
    for collection in collections:
        commit_all(folder, str(collection["collection"]), shards, env)
    return project


def commit_all(folder: Path, collection: str, shards: int, env: dict[str, str]) -> None:
    data = str(folder / "home/data")
    of = ["--data", data, "--collection", collection]
    listing = ["--uri", str(folder / "images"), "--shard-size", "1"]
    node(["clip_assets.node.catalog", *of, *listing], env)
    model = {"name": TINY, "untrained_seed": 0}
    job = folder / f"home/data/{collection}/jobs/before/job.json"
    job.parent.mkdir(parents=True)
    keys = tuple(f"{number:05d}" for number in range(shards))
    job.write_text(
        EmbedJob(
            job_id="before", run_id="before", collection=collection, model=model, shards=keys
        ).model_dump_json()
    )
    node(["clip_assets.node.embed", "--job", str(job)], env)


def node(arguments: list[str], env: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-m", *arguments], env=env, check=True, capture_output=True)


def measure(dagster: Dagster, shards: int) -> None:
    server = psutil.Process(dagster_process())
    catalogs = [(f"by_{size}", "catalog") for size in SIZES]
    assert dagster.materialize(*catalogs).status == "SUCCESS"
    before = cpu_seconds(server)
    time.sleep(IDLE_SECONDS)
    idle = (cpu_seconds(server) - before) / IDLE_SECONDS
    print(f"`dg dev` idle takes {idle:.2f} CPU-s a second; it is taken off below")
    floor = backfill(dagster, server, ("nothing",), shards, idle)
    print(f"{'an asset without work, one run':<34}{floor / shards:7.3f} CPU-s a shard")
    for size in SIZES:
        asset = (f"by_{size}", "tiny_untrained_0_fp32", "embeddings")
        each = backfill(dagster, server, asset, shards, idle) / shards
        print(
            f"{f'embeddings, {size} shards a run':<34}{each:7.3f} CPU-s a shard, aim {AIM}, "
            f"{each * shards / floor:.2f}x the asset without work",
            flush=True,
        )


def backfill(
    dagster: Dagster, server: psutil.Process, asset: tuple[str, ...], shards: int, idle: float
) -> float:
    """CPU-seconds of one backfill of all shards, every run of which succeeded."""
    began, before = time.monotonic(), cpu_seconds(server)
    keys = [f"{number:05d}" for number in range(shards)]
    done = dagster.finish_backfill(dagster.backfill(asset, keys), 900)
    assert done["status"] == "COMPLETED_SUCCESS", done
    return cpu_seconds(server) - before - idle * (time.monotonic() - began)


def cpu_seconds(root: psutil.Process) -> float:
    """Of the process and all below it; those that ended are counted where they were waited for."""
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            total += sum(process.cpu_times()[:4])  # own and waited-for children's, user and system
        except psutil.NoSuchProcess:
            continue
    return total


def dagster_process() -> int:
    """Id of the `dg dev` that this process started."""
    (process,) = [
        child for child in psutil.Process(os.getpid()).children() if "dev" in child.cmdline()
    ]
    return process.pid


if __name__ == "__main__":
    main()
