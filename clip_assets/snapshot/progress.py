"""Progress bars for the steps of making and fetching a snapshot."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from clip_assets.snapshot.archive import Step


@contextmanager
def bars(out: Console) -> Iterator[Step]:
    """One bar per step, in the order in which the steps start."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=out) as progress:

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                _finish(progress)
                tasks[what] = progress.add_task(what, total=total or None)
            progress.update(tasks[what], completed=done)

        yield step
        _finish(progress)


def _finish(progress: Progress) -> None:
    for task in progress.tasks:
        total = task.total or 1
        progress.update(task.id, total=total, completed=total)
