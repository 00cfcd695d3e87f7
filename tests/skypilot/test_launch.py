"""`clip-assets sky launch`: many managed jobs by one command, without Dagster."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from clip_assets import catalog
from clip_assets.catalog import Catalog
from clip_assets.collection import Collection
from clip_assets.compute.skypilot import jobs
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.model import ModelSpec
from clip_assets.sky_launch import follow, launch
from clip_assets.source.config import FolderConfig
from clip_assets.source.open import open_source
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects
from tests.skypilot.command_line import sky
from tests.skypilot.for_slurm import task_for_slurm

SMALL = {"cpus": 1, "memory": 1, "accelerators": "L4:1", "any_of": None}
POOL = "gpus"


@dataclass(frozen=True)
class Ranges:
    """A collection of two shards whose images are listed."""

    of: Collection
    objects: Objects
    head: Catalog

    @property
    def shards(self) -> list[str]:
        return [shard.shard for shard in self.head.shards]

    def embedded(self) -> list[int]:
        """Rows of each shard that is committed."""
        found = [commits.read(self.objects, self.of.spec.slug, s.at) for s in self.head.shards]
        return [commit.rows for commit in found if commit]


@pytest.fixture
def ranges(
    tmp_path: Path, tiny_spec: ModelSpec, write_pictures: Callable[..., Path]
) -> Callable[..., Ranges]:
    """Makes the collection; `settings` go into its `sky:` block."""

    def make(**settings: str) -> Ranges:
        source = FolderConfig(uri=str(write_pictures(tmp_path / "pictures", 8)))
        task = str(task_for_slurm("compute_vectors", tmp_path))
        config = SkyPilotConfig(task=task, resources=SMALL, **settings)
        of = Collection(collection="ranges", spec=tiny_spec, source=source, sky=config)
        objects = Objects(str(tmp_path / "data/ranges"))
        head = catalog.refresh(objects, "ranges", source, open_source(source).list(), 4)
        return Ranges(of, objects, head)

    return make


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[str]:
    """sky/pool.yaml with one worker, as a user brings it up and takes it down."""
    file = task_for_slurm("pool", tmp_path)
    task = yaml.safe_load(file.read_text())
    resources = {key: value for key, value in {**task["resources"], **SMALL}.items() if value}
    file.write_text(yaml.safe_dump({**task, "pool": {"workers": 1}, "resources": resources}))
    sky("jobs", "pool", "apply", "--pool", POOL, "--yes", str(file))
    yield POOL
    sky("jobs", "pool", "down", "--yes", POOL)


def test_two_ranges_in_two_jobs(ranges: Callable[..., Ranges]) -> None:
    """Each range gets its job, the same command again leaves them alone, and all is committed."""
    made = ranges()
    out = Console(file=io.StringIO(), width=200)
    launched = launch(made.of, made.objects, made.shards, 1, out)
    again = launch(made.of, made.objects, made.shards, 1, out)
    assert [one.sky_job for one in again] == [one.sky_job for one in launched]
    assert not any(one.job_id for one in again)
    follow(made.objects, made.head, launched, out)
    assert made.embedded() == [4, 4]
    assert "runs already" in out.file.getvalue()
    assert "2 SUCCEEDED" in out.file.getvalue()


def test_a_pools_worker_takes_the_jobs(pool: str, ranges: Callable[..., Ranges]) -> None:
    """With `pool:` no job brings up a machine of its own: one worker does them all."""
    made = ranges(pool=pool)
    out = Console(file=io.StringIO(), width=200)
    launched = launch(made.of, made.objects, made.shards, 1, out)
    follow(made.objects, made.head, launched, out)
    assert made.embedded() == [4, 4]
    ended = [jobs.state(one.sky_job) for one in launched]
    assert [job.status for job in ended] == ["SUCCEEDED", "SUCCEEDED"]
