"""What the command-line programs `python -m clip_assets.…` share; they run without Dagster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from clip_assets.errors import ClipAssetsError

COULD_NOT_START = 2
"""Exit status of an error that the program explains, and of options that it cannot use."""


def program(main: Callable[..., None], help_text: str) -> typer.Typer:
    """The program that runs `main` with the options of the command line."""
    # Plain text: typer's rich help would fold the examples into a paragraph.
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(help=_unwrapped(help_text))(main)
    return app


@contextmanager
def explained() -> Iterator[None]:
    """Print a ClipAssetsError as one line on stderr and exit with 2; others keep their trace."""
    try:
        yield
    except ClipAssetsError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(COULD_NOT_START) from error


def _unwrapped(text: str) -> str:
    """The text, with indented paragraphs (commands) marked so that click does not rewrap them."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(f"\b\n{one}" if one.startswith(" ") else one for one in paragraphs)
