"""Recall follows its definition, and its lower bound holds."""

import numpy as np
import pytest

from clip_assets.quality.recall import mean_recall, wilson_lower


def test_recall_is_the_mean_over_queries() -> None:
    """One query that finds all neighbours and one that finds half of them give 0.75."""
    recall = mean_recall([1.0, 0.5], k=2)
    assert (recall.k, recall.queries, recall.mean) == (2, 2, 0.75)
    assert recall.lower < 0.75


def test_without_queries_recall_is_1_and_its_bound_0() -> None:
    """Without queries nothing was missed, but nothing was proved either."""
    assert (mean_recall([], k=10).mean, mean_recall([], k=10).lower) == (1.0, 0.0)


def test_perfect_queries_do_not_prove_perfect_recall() -> None:
    """After 300 perfect queries the lower bound is 0.991, not 1."""
    assert wilson_lower(1.0, 300) == pytest.approx(0.99106, abs=1e-4)


def test_the_bound_holds_in_95_percent_of_samples() -> None:
    """Checked on 2,000 samples of 300 queries for 10 neighbours each."""
    found = np.random.default_rng(0).binomial(10, 0.97, (2_000, 300)) / 10
    assert np.mean([wilson_lower(mean, 300) <= 0.97 for mean in found.mean(axis=1)]) >= 0.95
