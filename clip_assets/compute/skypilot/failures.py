"""SkyPilot's errors as errors of this package, with the remedy for a collection."""

from collections.abc import Iterator
from contextlib import contextmanager

from clip_assets.dagster_skypilot import SkyPilotError
from clip_assets.errors import HopelessJobError, JobError


@contextmanager
def as_job_error(remedy: str) -> Iterator[None]:
    """Raise each SkyPilotError as a JobError, or a HopelessJobError if a retry would fail, too."""
    try:
        yield
    except SkyPilotError as error:
        kind = JobError if error.allow_retries else HopelessJobError
        raise kind(f"{error} {remedy}") from error
