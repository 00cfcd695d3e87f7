"""A living collection in fast forward."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import psycopg
import pytest

from clip_assets import catalog
from clip_assets.release import sweep
from tests.faults import soak
from tests.faults.collection import NAME, Tiny

DAYS, DAY = 15, 24 * 3600


@pytest.mark.promise("New images become searchable without manual work")
def test_answers_follow_the_source_for_days(
    tmp_path: Path,
    new_database: Callable[[], str],
    moments: Random,
    record_property: Callable[[str, object], None],
) -> None:
    """Through two switches of models, a rollback and erasures, what answers is what is there, and
    no file stays that was replaced more than a week ago."""
    pictures, data = tmp_path / "pictures", tmp_path / "data"
    pictures.mkdir()
    data.mkdir()
    tiny = Tiny(data, new_database(), pictures, soak.spec(0))
    *_, last = soak.live_through(tiny, DAYS, moments)
    assert last.day == DAYS - 1
    with psycopg.connect(tiny.dsn) as connection:
        loaded = sweep.loaded_commits(connection, NAME)
    head = catalog.require(tiny.objects, NAME)
    now = tiny.objects.now() - DAY  # the last day has passed
    old = [
        one
        for one in sweep.replaced(tiny.objects, head, loaded)
        if one.at < now - sweep.KEEP.total_seconds() and not one.loaded
    ]
    assert old == []
    record_property("figure", str(last))
