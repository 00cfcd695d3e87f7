"""A backfill with a progress bar: images/s, shards done, time left."""

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from clip_assets.cli.backfill import Backfill
from clip_assets.cli.bar import bar, waiting
from clip_assets.index import progress
from clip_assets.node.job import id_of
from clip_assets.node.progress import read_progress
from clip_assets.postgres.connect import connect_owner
from clip_assets.settings import Settings
from clip_assets.store.objects import Objects


@dataclass(frozen=True)
class Asked:
    """What a user asked for; `again` embeds committed shards again."""

    collection: str
    slug: str | None
    shards: str
    again: bool


def backfill_with_progress(settings: Settings, asked: Asked, out: Console) -> None:
    """Bring the collection up to date, showing progress. Raises ClipAssetsError."""
    log = settings.folder / "logs" / "backfill.log"
    try:
        with _stderr_into(log):
            _bring_up_to_date(settings, asked, out)
    except SystemExit:
        out.print("Stopped. Finished work is kept; run the same command to continue.")
        raise


def _bring_up_to_date(settings: Settings, asked: Asked, out: Console) -> None:
    def say(sentence: str) -> None:
        out.print(sentence, style="yellow", markup=False, highlight=False, soft_wrap=True)

    with waiting(out, f"{asked.collection}: loading definitions"):
        work = Backfill(settings, asked.collection, asked.slug, say)
    work.clear_abandoned()
    with waiting(out, f"{asked.collection}: listing images"):
        work.refresh_catalog()
    head = work.head
    out.print(f"catalog       {head.images} images in {len(head.shards)} shards")
    due = work.chosen(asked.shards, again=asked.again)
    _embed(work, due, out, again=asked.again)
    for line in work.rejects(due):
        out.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    _index(work, settings, out)
    out.print("search_index  loaded, judged")
    with waiting(out, "release: publishing"):
        work.release()
    out.print("release       live")


def _embed(work: Backfill, shards: list[str], out: Console, *, again: bool) -> None:
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
        TextColumn("{task.fields[speed]:.0f} images/s{task.fields[limit]}, ETA"),
        TimeRemainingColumn(),
    )
    with bar(out, *columns) as shown:
        task = shown.add_task("", total=images, shards=len(shards), done=0, speed=0, limit="")
        embedded = _EmbedBar(shown, task)
        for batch in work.batches(shards):
            run_id = str(uuid.uuid4())
            job_id = id_of(work.collection.spec.slug, batch, run_id)
            show = partial(embedded.follow, work.objects, job_id)
            work.embed(batch, run_id, show, again=again)
            embedded.finish(len(batch), sum(shard.live for shard in work.head.pick(batch)))


@dataclass
class _EmbedBar:
    """The bar over all runs; `images` and `shards` are those of the runs that have ended."""

    bar: Progress
    task: TaskID
    images: int = 0
    shards: int = 0

    def follow(self, objects: Objects, job_id: str) -> None:
        job = read_progress(objects, job_id)
        if job:
            self.bar.update(
                self.task,
                completed=self.images + job.images_done,
                done=self.shards + job.shards_done,
                speed=job.images_per_second,
                limit=f", limited by: {job.limited_by}" if job.limited_by else "",
            )

    def finish(self, shards: int, images: int) -> None:
        self.shards += shards
        self.images += images
        self.bar.update(self.task, completed=self.images, done=self.shards)


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
        bar(out, *columns, transient=True) as shown,
        connect_owner(settings) as connection,
    ):
        task, doing = shown.add_task("", total=None), ""

        def show() -> None:
            nonlocal doing
            step = progress.step(connection, *work.collection.index_key, shards)
            if step.doing != doing:  # the remaining time is per step
                doing = step.doing
                shown.reset(task, total=None, description=doing)
            shown.update(task, completed=step.done, total=step.total)

        work.index(show)


@contextmanager
def _stderr_into(log: Path) -> Iterator[None]:
    """Redirect stderr to a file: lines from Dagster and the node would break the progress bar."""
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
