"""Errors of ours as Dagster's failures, so that the UI shows their sentence first."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from clip_assets.errors import ClipAssetsError, HopelessJobError


@contextmanager
def told() -> Iterator[None]:
    """Raise each ClipAssetsError as a `dg.Failure` with its sentence as description.

    Otherwise the UI says "Error occurred while executing op" above a trace.
    """
    try:
        yield
    except ClipAssetsError as error:
        hopeless = isinstance(error, HopelessJobError)
        raise dg.Failure(str(error), allow_retries=not hopeless) from error
