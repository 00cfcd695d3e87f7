"""`clip-assets sky launch`: launch many managed jobs and show their progress."""

import time
from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from clip_assets.catalog import Catalog
from clip_assets.collection import Collection
from clip_assets.compute.skypilot import batch
from clip_assets.compute.skypilot.batch import Launched
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.compute.skypilot.failures import as_job_error
from clip_assets.dagster_skypilot import jobs
from clip_assets.errors import JobError
from clip_assets.node.job import EmbedJob, ids_by_hand
from clip_assets.node.progress import read_progress
from clip_assets.store.objects import Objects

_POLL_SECONDS = 5.0
_REMEDY = "Launch again; jobs that are running are kept, and committed shards are skipped."


def by_size(shards: list[str], most: int) -> list[list[str]]:
    """Divide the shards into ranges of `most`; the last may be shorter."""
    return [shards[start : start + most] for start in range(0, len(shards), most)]


def by_count(shards: list[str], count: int) -> list[list[str]]:
    """Divide the shards into `count` ranges whose lengths differ by at most one."""
    count = min(count, len(shards))
    size, longer = divmod(len(shards), count) if count else (0, 0)
    ends = [(number + 1) * size + min(number + 1, longer) for number in range(count)]
    return [shards[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def launch(
    collection: Collection, objects: Objects, ranges: list[list[str]], out: Console
) -> list[Launched]:
    """Submit one job per range of shards, and list the jobs."""
    config = collection.sky or SkyPilotConfig()
    asked = _jobs(collection, ranges)
    table = Table("job", "shards", "name", "")
    launched = []
    with out.status("launching"), as_job_error(_REMEDY):
        for one in batch.launch(config, objects, collection.name, asked):
            launched.append(one)
            state = "launched" if one.job_id else "already running"
            table.add_row(str(one.sky_job), f"{one.shards[0]}..{one.shards[-1]}", one.name, state)
    out.print(table)
    return launched


def _jobs(collection: Collection, ranges: list[list[str]]) -> Iterator[EmbedJob]:
    for shards in ranges:
        job_id, run_id = ids_by_hand(collection.spec.slug, shards)
        yield collection.job(job_id, run_id, shards)


def follow(objects: Objects, head: Catalog, launched: list[Launched], out: Console) -> None:
    """Show progress until every job has ended. Raises JobError if one of them failed."""
    shards = [shard for one in launched for shard in one.shards]
    images = sum(shard.live for shard in head.pick(shards))
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[states]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images, {task.fields[speed]:.0f} images/s, ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out) as bar, as_job_error(_REMEDY):
        task = bar.add_task("", total=images, states="", speed=0.0)
        while True:
            states = jobs.states([one.sky_job for one in launched])
            read = [read_progress(objects, one.job_id) for one in launched if one.job_id]
            known = [progress for progress in read if progress]
            counts = Counter(state.status for state in states)
            bar.update(
                task,
                completed=sum(progress.images_done for progress in known),
                speed=sum(progress.images_per_second for progress in known),
                states=", ".join(f"{count} {name}" for name, count in counts.items()),
            )
            if all(state.terminal for state in states):
                break
            time.sleep(_POLL_SECONDS)
    failed = [state for state in states if state.status != "SUCCEEDED"]
    if failed:
        raise JobError(
            f"{len(failed)} of {len(states)} jobs failed: "
            + ", ".join(f"{state.id} {state.status}" for state in failed[:10])
            + ". `sky jobs logs ID` shows why. Launch again; committed shards are skipped."
        )
