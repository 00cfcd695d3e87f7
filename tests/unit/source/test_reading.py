from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from clip_assets.source import reading
from clip_assets.source.reading import in_order


def test_reading_ahead_is_bounded() -> None:
    """Items are consumed only as results are taken, so memory stays bounded."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = in_order(lambda number: number * 2, items(), threads=2, ahead=5)
    assert [next(results) for _ in range(10)] == list(range(0, 20, 2))
    assert len(taken) == 14


def test_an_exception_is_raised_in_its_items_turn() -> None:
    """Results of the items before the one that failed are still returned."""
    results = in_order(lambda number: 6 // number, [1, 2, 0, 3])
    assert [next(results), next(results)] == [6, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_closing_cancels_work_that_has_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that stops early does not wait for images it no longer needs."""
    begun: list[int] = []
    closing = Event()

    class Pool(ThreadPoolExecutor):
        def __exit__(self, *error: object) -> None:
            closing.set()
            super().__exit__(None, None, None)

    def work(number: int) -> int:
        begun.append(number)
        if number:
            closing.wait(600)
        return number

    monkeypatch.setattr(reading, "ThreadPoolExecutor", Pool)
    results = in_order(work, range(50), threads=2, ahead=50)
    assert next(results) == 0
    results.close()
    assert len(begun) <= 3, "the first, and one in each thread"
