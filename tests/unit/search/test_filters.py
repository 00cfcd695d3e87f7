"""Filters are bounded before anything is searched."""

from typing import Any

import pytest
from pydantic import ValidationError

from clip_assets.search.filters import DEEPEST, MOST_PARTS, Filter

WIDE = {"min_width": 3}


def nested(depth: int) -> dict[str, Any]:
    """A filter that has `depth` levels, itself among them."""
    return {"not": nested(depth - 1)} if depth > 1 else WIDE


def test_depth_and_size_are_bounded() -> None:
    """Up to the limits a filter is accepted; beyond them the error names the limit."""
    Filter.model_validate(nested(DEEPEST))
    Filter.model_validate({"any": [WIDE] * (MOST_PARTS - 1)})
    for deep in (nested(DEEPEST + 1), nested(400)):
        with pytest.raises(ValidationError, match=r"nested|recursion"):
            Filter.model_validate(deep)
    halves = {"all": [{"any": [WIDE] * (MOST_PARTS // 2)}] * 2}
    with pytest.raises(ValidationError, match=f"at most {MOST_PARTS} filters"):
        Filter.model_validate(halves)


@pytest.mark.parametrize("part", [{"not": {}}, {"all": [{"columns": {}}]}, {"any": []}])
def test_a_part_has_a_condition(part: dict[str, Any]) -> None:
    """Nothing to match is most likely a mistake of the program that asks."""
    with pytest.raises(ValidationError, match=r"must have a condition|at least 1 item"):
        Filter.model_validate(part)


def test_an_empty_filter_is_none() -> None:
    """Then a search needs no condition, and its plan is that of a search without a filter."""
    assert Filter().predicate() is None
    assert Filter(columns={}).is_empty
