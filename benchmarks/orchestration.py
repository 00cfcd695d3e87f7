"""CPU-seconds that Dagster needs for a backfill of 200 shards, and the minimum it could need.

    .venv/bin/python -m benchmarks.orchestration            # about six minutes on two cores

The shards are committed beforehand, so a run has nothing to compute. What remains is the daemon,
the web server, the run workers with their imports, the checks, and one event per shard. The peer is
a plain Dagster asset that does nothing, backfilled as one run in the same `dg dev`. The figures
include every process, also those that ended, minus what `dg dev` uses when idle in the same time.
"""

import argparse
import io
import os
import tempfile
import time
from pathlib import Path

import dagster as dg
import psutil
import pyarrow as pa
from PIL import Image

from clip_assets.catalog import Catalog, Shard
from clip_assets.collection import Collection
from clip_assets.postgres import embedded
from clip_assets.source.config import FolderConfig
from clip_assets.store import paths
from clip_assets.store.objects import Objects
from tests.acceptance.dagster_api import Dagster
from tests.acceptance.dagster_project import PACKAGE, dg_dev, environment, write_project
from tests.conftest import picture
from tests.integration.support import Made, Model, image_table

AIM = 0.2
SIZES = (Collection.model_fields["shards_per_run"].default, 200)
IMAGES = 24  # per shard: enough for a full contact sheet
IDLE_SECONDS = 30
MADE_UP = Model()
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
        folder.chmod(0o755)  # the embedded Postgres runs as another user
        server = embedded.start(folder / "postgres", cleanup_mode="delete")
        env = environment(folder / "home", server.get_uri())
        project = prepared(folder, shards, env)
        with dg_dev(project, env, folder / "dg_dev.log") as dagster:
            measure(dagster, shards)


def prepared(folder: Path, shards: int, env: dict[str, str]) -> Path:
    """A project with two collections whose shards are committed, and an asset that does nothing."""
    collections = [
        {
            "collection": f"by_{size}",
            "source": {"type": "folder", "uri": str(folder)},
            "shards_per_run": size,
            "model": {"name": "made-up", "pretrained": "none"},
            "automate": False,
        }
        for size in SIZES
    ]
    project = write_project(folder / "project", *collections)
    (project / PACKAGE / "defs/nothing.py").write_text(NOTHING.format(shards=shards))
    with dg.DagsterInstance.from_config(env["DAGSTER_HOME"]) as instance:
        for collection in collections:
            name = str(collection["collection"])
            keys = committed(Objects(str(folder / "home/data" / name)), name, shards)
            instance.add_dynamic_partitions(f"{name}_shards", keys)
    return project


def committed(objects: Objects, collection: str, shards: int, model: Model = MADE_UP) -> list[str]:
    """Write a catalog of synthetic shards, each with its commit; returns their keys."""
    made = Made(objects, model)
    thumbnail = io.BytesIO()
    Image.open(io.BytesIO(picture(0))).resize((128, 128)).save(thumbnail, "WEBP")
    commits = []
    for number in range(shards):
        table = image_table(f"{number:05d}", IMAGES, number, made.model.dim)
        column = table.schema.get_field_index("thumbnail")
        shown = pa.array([thumbnail.getvalue()] * IMAGES, pa.binary())
        table = table.set_column(column, table.schema.field(column), shown)
        commits.append(made.add(f"{number:05d}", table=table))
    listed = tuple(
        Shard(shard=c.shard, version=c.version, digest=c.catalog_digest, rows=c.rows, live=c.rows)
        for c in commits
    )
    source = FolderConfig(uri="/nowhere")
    head = Catalog(collection=collection, source=source, listing="made up", shards=listed)
    objects.put(paths.CATALOG, head.model_dump_json().encode())
    return [shard.shard for shard in listed]


def measure(dagster: Dagster, shards: int) -> None:
    server = psutil.Process(dagster_process())
    before = cpu_seconds(server)
    time.sleep(IDLE_SECONDS)
    idle = (cpu_seconds(server) - before) / IDLE_SECONDS
    print(f"idle, `dg dev` uses {idle:.2f} CPU-s per second, which is subtracted below")
    floor = backfill(dagster, server, ("nothing",), shards, idle)
    print(f"{'an asset that does nothing, one run':<36}{floor / shards:7.3f} CPU-s per shard")
    for size in SIZES:
        asset = (f"by_{size}", "made_up_none_fp32", "embeddings")
        each = backfill(dagster, server, asset, shards, idle) / shards
        print(
            f"{f'embeddings, {size} shards per run':<36}{each:7.3f} CPU-s per shard, target {AIM}, "
            f"{each * shards / floor:.2f}x the asset that does nothing",
            flush=True,
        )


def backfill(
    dagster: Dagster, server: psutil.Process, asset: tuple[str, ...], shards: int, idle: float
) -> float:
    """CPU-seconds of one successful backfill of all shards."""
    began, before = time.monotonic(), cpu_seconds(server)
    keys = [f"{number:05d}" for number in range(shards)]
    done = dagster.finish_backfill(dagster.backfill(asset, keys), 900)
    assert done["status"] == "COMPLETED_SUCCESS", done
    return cpu_seconds(server) - before - idle * (time.monotonic() - began)


def cpu_seconds(root: psutil.Process) -> float:
    """CPU-seconds of the process and its descendants; ended ones count if they were waited for."""
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
