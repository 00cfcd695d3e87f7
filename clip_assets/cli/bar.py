"""Progress bars into which nothing else is printed."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, TextColumn


def bar(out: Console, *columns: ProgressColumn, transient: bool = False) -> Progress:
    """A bar on the console.

    By default rich sends there what anything writes to `sys.stderr`, which are the lines of the
    node and of Dagster; they belong into the log.
    """
    return Progress(
        *columns, console=out, transient=transient, redirect_stdout=False, redirect_stderr=False
    )


@contextmanager
def waiting(out: Console, told: str) -> Iterator[None]:
    """Say what is done, until it is."""
    with bar(out, SpinnerColumn(), TextColumn("{task.description}"), transient=True) as shown:
        shown.add_task(told, total=None)
        yield
