"""A living collection in fast forward."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.faults import soak
from tests.faults.collection import Tiny

DAYS = 15


@pytest.mark.promise("New images become searchable without manual work")
def test_answers_follow_the_source_for_days(
    tmp_path: Path,
    new_database: Callable[[], str],
    moments: Random,
    record_property: Callable[[str, object], None],
) -> None:
    """Through two switches of models, a rollback and erasures, what answers is what is there."""
    pictures, data = tmp_path / "pictures", tmp_path / "data"
    pictures.mkdir()
    data.mkdir()
    tiny = Tiny(data, new_database(), pictures, soak.spec(0))
    *_, last = soak.live_through(tiny, DAYS, moments)
    assert last.day == DAYS - 1
    record_property("figure", str(last))
