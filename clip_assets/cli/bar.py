"""Progress bars that other output cannot break."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, TextColumn


def bar(out: Console, *columns: ProgressColumn, transient: bool = False) -> Progress:
    """A bar on the console.

    By default rich prints above the bar what anything writes to `sys.stderr`. Here these are log
    lines of the node and of Dagster, which belong in the log file.
    """
    return Progress(
        *columns, console=out, transient=transient, redirect_stdout=False, redirect_stderr=False
    )


@contextmanager
def waiting(out: Console, text: str) -> Iterator[None]:
    """Show a spinner with this text during the block."""
    with bar(out, SpinnerColumn(), TextColumn("{task.description}"), transient=True) as shown:
        shown.add_task(text, total=None)
        yield
