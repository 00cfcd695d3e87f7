"""Recall is counted as its definition says, and its bound is a bound."""

import numpy as np
import pytest

from clip_assets.quality.recall import mean_recall, wilson_lower


def test_recall_by_hand() -> None:
    """Two queries, one with all and one with half of its neighbours: three quarters."""
    recall = mean_recall([1.0, 0.5], k=2)
    assert (recall.k, recall.queries, recall.mean) == (2, 2, 0.75)
    assert recall.lower < 0.75


def test_no_queries() -> None:
    """Nothing asked is nothing lost, and nothing shown."""
    assert (mean_recall([], k=10).mean, mean_recall([], k=10).lower) == (1.0, 0.0)


def test_perfect_is_not_certain() -> None:
    """300 perfect queries do not prove perfection; the bound says how far they go."""
    assert wilson_lower(1.0, 300) == pytest.approx(0.99106, abs=1e-4)


def test_bound_holds_as_often_as_it_says() -> None:
    """Over 2,000 samples of 300 queries, each finding 10 neighbours, the bound holds in 95 %."""
    found = np.random.default_rng(0).binomial(10, 0.97, (2_000, 300)) / 10
    assert np.mean([wilson_lower(mean, 300) <= 0.97 for mean in found.mean(axis=1)]) >= 0.95
