"""nDCG of binary judgements."""

import math

import pytest

from clip_assets.quality.ranking import ndcg


def test_ndcg_by_hand() -> None:
    """Right images on places 1 and 3 of three, where two exist, by the formula."""
    gain = 1 + 1 / math.log2(4)
    assert ndcg([True, False, True], 2) == pytest.approx(gain / (1 + 1 / math.log2(3)))


def test_the_best_ranking_has_one_and_the_worst_none() -> None:
    """Also if more images are right than there are places."""
    assert ndcg([True, True, False], 2) == ndcg([True] * 3, 5) == 1
    assert ndcg([False] * 3, 2) == 0
