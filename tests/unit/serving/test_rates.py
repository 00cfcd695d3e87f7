"""The counters of the rate limits that several workers share."""

from pathlib import Path

import pytest
from limits import parse
from limits.strategies import SlidingWindowCounterRateLimiter

from serving.rates import SharedStorage

NOW = 1_800_000_000.0


def test_a_rate_holds_over_all_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests count whichever worker they reach, until the window has passed."""
    monkeypatch.setattr("time.time", lambda: NOW)
    file, rate = tmp_path / "rates", parse("3/hour")
    one, other = (SlidingWindowCounterRateLimiter(SharedStorage(file)) for _ in range(2))
    assert [each.hit(rate, "key", "a") for each in (one, other, one, other, one)] == [
        True, True, True, False, False
    ]  # fmt: skip
    assert other.hit(rate, "key", "b")
    assert one.get_window_stats(rate, "key", "a").remaining == 0
    monkeypatch.setattr("time.time", lambda: NOW + 2 * 3600)
    assert other.hit(rate, "key", "a")
    assert other.get_window_stats(rate, "key", "a").remaining == 2
