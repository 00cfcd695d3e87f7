"""A backfill with a progress bar: images/s, shards done, time left."""

import os
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from clip_assets.cli.backfill import Backfill
from clip_assets.index import progress
from clip_assets.node.job import id_of
from clip_assets.node.progress import read_progress
from clip_assets.postgres.connect import connect_owner
from clip_assets.settings import Settings

_POLL_SECONDS = 0.3


def backfill_with_progress(
    settings: Settings, collection: str, slug: str | None, shards: str, out: Console
) -> None:
    """Bring the collection up to date, showing progress. Raises ClipAssetsError."""
    log = settings.home.resolve() / "logs" / "backfill.log"
    with _stderr_into(log):
        _bring_up_to_date(settings, collection, slug, shards, out)


def _bring_up_to_date(
    settings: Settings, collection: str, slug: str | None, shards: str, out: Console
) -> None:
    with out.status(f"{collection}: loading definitions"):
        work = Backfill(settings, collection, slug)
    with out.status(f"{collection}: listing images"):
        work.refresh_catalog()
    head = work.head
    out.print(f"catalog       {head.images} images in {len(head.shards)} shards")
    due = work.chosen(shards)
    _embed(work, due, out)
    for line in work.rejects(due):
        out.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    _index(work, settings, out)
    out.print("search_index  loaded, judged")
    with out.status("release: publishing"):
        work.release()
    out.print("release       live")


def _embed(work: Backfill, shards: list[str], out: Console) -> None:
    if not shards:
        out.print("embeddings    all shards are committed")
        return
    images = sum(shard.live for shard in work.head.pick(shards))
    columns = (
        SpinnerColumn(),
        TextColumn("embeddings"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images, {task.fields[done]}/{task.fields[shards]} shards"),
        TextColumn("{task.fields[speed]:.0f} images/s, ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out) as bar, ThreadPoolExecutor(1) as pool:
        task = bar.add_task("", total=images, shards=len(shards), done=0, speed=0.0)
        images_before = shards_before = 0
        for batch in work.batches(shards):
            run_id = str(uuid.uuid4())
            running: Future[None] = pool.submit(work.embed, batch, run_id)
            while not _finished(running):
                job = read_progress(work.objects, id_of(work.collection.spec.slug, batch, run_id))
                if job:
                    bar.update(
                        task,
                        completed=images_before + job.images_done,
                        done=shards_before + job.shards_done,
                        speed=job.images_per_second,
                    )
            images_before += sum(shard.live for shard in work.head.pick(batch))
            shards_before += len(batch)
            bar.update(task, completed=images_before, done=shards_before)


def _index(work: Backfill, settings: Settings, out: Console) -> None:
    columns = (
        SpinnerColumn(),
        TextColumn("search_index  {task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    shards = len(work.head.shards)
    with (
        Progress(*columns, console=out, transient=True) as bar,
        ThreadPoolExecutor(1) as pool,
        connect_owner(settings) as connection,
    ):
        task, doing = bar.add_task("", total=None), ""
        running = pool.submit(work.index)
        while not _finished(running):
            step = progress.step(connection, *work.collection.index_key, shards)
            if step.doing != doing:  # the remaining time is per step
                doing = step.doing
                bar.reset(task, total=None, description=doing)
            bar.update(task, completed=step.done, total=step.total)


@contextmanager
def _stderr_into(log: Path) -> Iterator[None]:
    """Redirect stderr of Dagster and the node to a file, so that the bar stays one line."""
    log.parent.mkdir(parents=True, exist_ok=True)
    kept = os.dup(2)
    with log.open("ab") as file:
        sys.stderr.flush()
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _finished(running: Future[None]) -> bool:
    """Whether the run has ended; re-raises its exception."""
    try:
        running.result(timeout=_POLL_SECONDS)
    except TimeoutError:
        return False
    return True
