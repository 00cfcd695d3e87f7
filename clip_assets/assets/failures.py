"""Errors that a user can fix, as Dagster failures, so that the UI shows their message first."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import psycopg

from clip_assets.errors import ClipAssetsError, HopelessJobError
from clip_assets.postgres import faults


@contextmanager
def as_dagster_failure() -> Iterator[None]:
    """Raise a ClipAssetsError, OSError or explainable Postgres error as a `dg.Failure`.

    Its description is the error's message; otherwise the UI shows "Error occurred while executing
    op" above a stack trace.
    """
    try:
        yield
    except ClipAssetsError as error:
        hopeless = isinstance(error, HopelessJobError)
        raise dg.Failure(str(error), allow_retries=not hopeless) from error
    except OSError as error:
        raise dg.Failure(f"The operating system refused: {error}.") from error
    except psycopg.Error as error:
        sentence = faults.explained(error)
        if sentence is None:
            raise
        raise dg.Failure(sentence) from error
