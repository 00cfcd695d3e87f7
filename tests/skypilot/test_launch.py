"""`clip-assets sky launch`: many managed jobs by one command, without Dagster, on a pool."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from clip_assets import catalog
from clip_assets.cli.sky_launch import by_size, follow, launch
from clip_assets.collection import Collection
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.model import ModelSpec
from clip_assets.source.config import FolderConfig
from clip_assets.source.open import open_source
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects
from tests.skypilot.command_line import sky
from tests.skypilot.for_slurm import task_for_slurm

POOL = "gpus"
SMALL = {"cpus": 1, "memory": 1, "accelerators": "L4:1"}


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[str]:
    """sky/pool.yaml with one worker, as a user brings it up and takes it down."""
    file = task_for_slurm("pool", tmp_path)
    task = yaml.safe_load(file.read_text())
    resources = {**task["resources"], **SMALL}
    del resources["any_of"]
    file.write_text(yaml.safe_dump({**task, "pool": {"workers": 1}, "resources": resources}))
    sky("jobs", "pool", "apply", "--pool", POOL, "--yes", str(file))
    yield POOL
    sky("jobs", "pool", "down", "--yes", POOL)


def test_two_ranges_in_two_jobs(
    pool: str, tmp_path: Path, tiny_spec: ModelSpec, write_pictures: Callable[..., Path]
) -> None:
    """Each range gets its job, the same command again leaves them alone, and all is committed,
    though there is one worker only and its jobs bring no set-up."""
    source = FolderConfig(uri=str(write_pictures(tmp_path / "pictures", 8)))
    task = str(task_for_slurm("compute_vectors", tmp_path))
    config = SkyPilotConfig(task=task, resources={**SMALL, "any_of": None}, pool=pool)
    collection = Collection(name="ranges", spec=tiny_spec, source=source, sky=config)
    objects = Objects(str(tmp_path / "data/ranges"))
    head = catalog.refresh(objects, "ranges", source, open_source(source).list(), 4)
    shards = [shard.shard for shard in head.shards]
    out = Console(file=io.StringIO(), width=200)

    launched = launch(collection, objects, by_size(shards, 1), out)
    again = launch(collection, objects, by_size(shards, 1), out)
    assert [one.sky_job for one in again] == [one.sky_job for one in launched]
    assert not any(one.job_id for one in again)
    follow(objects, head, launched, out)
    found = [commits.read(objects, tiny_spec.slug, shard.at) for shard in head.shards]
    assert [commit and commit.rows for commit in found] == [4, 4]
    assert "already running" in out.file.getvalue()
    assert "2 SUCCEEDED" in out.file.getvalue()
