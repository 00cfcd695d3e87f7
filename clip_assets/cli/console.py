"""How commands print output, one-sentence errors and JSON; and the options that they share."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from clip_assets.cli import faults
from clip_assets.errors import ClipAssetsError

out = Console()
errors = Console(stderr=True)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = 1000  # another program reads the output, so nothing may be cut off or wrapped

CollectionArgument = Annotated[str, typer.Argument(help="Name of the collection.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Slug of the model, if there are several.")
]


@contextmanager
def explained() -> Iterator[None]:
    """Print our errors, and those of Postgres or the system that a user can fix, as one sentence;
    exit 1.

    Other errors keep their traceback.
    """
    try:
        yield
    except ClipAssetsError as error:
        _fail(str(error), error)
    except OSError as error:
        if error.filename is None:
            _discard_output()
        sentence = faults.explained(error)
        if sentence is None:
            raise
        _fail(sentence, error)
    except UnicodeEncodeError as error:  # of an argument: files are named with care elsewhere
        _fail(f"{error.object!r} is not text in UTF-8. Give it in UTF-8.", error)
    except Exception as error:
        if "psycopg" not in sys.modules:
            raise
        import psycopg

        from clip_assets.postgres import faults as of_postgres

        sentence = of_postgres.explained(error) if isinstance(error, psycopg.Error) else None
        if sentence is None:
            raise
        _fail(sentence, error)


def _discard_output() -> None:
    """Drop buffered output: Python would try to write it at exit, and end with status 120."""
    with suppress(OSError, ValueError):  # sys.stdout may have been replaced by something else
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(sentence: str, error: Exception) -> NoReturn:
    print_error(sentence)
    raise typer.Exit(1) from error


def print_error(sentence: str) -> None:
    printable = sentence.encode("utf-8", "backslashreplace").decode()
    text = f"[red]error:[/red] {escape(printable)}"
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))
