"""What the UI shows of an error first is a sentence."""

import dagster as dg
import psycopg
import pytest

from clip_assets.assets.failures import as_dagster_failure
from clip_assets.errors import HopelessJobError, StoreError


@pytest.mark.parametrize(
    ("error", "sentence", "retried"),
    [
        (StoreError("Free some space."), "Free some space.", True),
        (HopelessJobError("No cloud has it."), "No cloud has it.", False),
        (OSError(28, "No space left on device"), "refused: .*No space left on device", True),
        (psycopg.errors.DiskFull("could not extend"), "ran out of a resource: could not", True),
    ],
)
def test_the_sentence_of_an_error_comes_first(
    error: Exception, sentence: str, *, retried: bool
) -> None:
    """Of ours, of the operating system and of Postgres; a retry is left to the policy of the asset,
    unless there is no hope."""
    with pytest.raises(dg.Failure, match=sentence) as failure, as_dagster_failure():
        raise error
    assert failure.value.allow_retries == retried


def test_a_fault_of_the_program_keeps_its_trace() -> None:
    """Nobody but its authors can mend it."""
    with pytest.raises(psycopg.errors.SyntaxError), as_dagster_failure():
        raise psycopg.errors.SyntaxError("near FORM")
