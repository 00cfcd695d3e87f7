from collections.abc import Iterator
from concurrent.futures import wait
from threading import Event, Timer
from typing import Any

import pytest

from clip_assets.errors import SourceError
from clip_assets.source import ordered
from clip_assets.source.ordered import Late, in_order


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

    def work(number: int) -> int:
        begun.append(number)
        if number:
            closing.wait(600)
        return number

    def waited(futures: Any, timeout: float) -> None:
        closing.set()
        wait(futures, timeout)

    results = in_order(work, range(50), threads=2, ahead=50)
    assert next(results) == 0
    monkeypatch.setattr(ordered, "wait", waited)
    results.close()
    assert len(begun) <= 3, "the first, and one in each thread"


@pytest.fixture
def never() -> Iterator[Event]:
    event = Event()
    yield event
    event.set()


def test_a_read_that_hangs_costs_its_own_image(never: Event) -> None:
    """At the deadline its result is that of `late`; the others are read, by another thread."""

    def work(number: int) -> str:
        if number == 1:
            never.wait()
        return str(number)

    late = Late(1.0, lambda number: f"{number} is late")
    found = list(in_order(work, range(5), threads=1, ahead=2, late=late))
    assert found == ["0", "1 is late", "2", "3", "4"]


def test_a_disk_that_hangs_ends_the_read(never: Event) -> None:
    """If each thread hangs, it is no single image's fault."""
    results = in_order(lambda _: never.wait(), range(9), threads=2, late=Late(1.0, lambda _: False))
    assert [next(results), next(results)] == [False, False]
    with pytest.raises(SourceError, match="has not ended after 1 s"):
        next(results)


def test_without_late_an_item_has_the_time_it_needs() -> None:
    """A large compressed tar is unpacked for as long as it takes."""
    going = Event()
    Timer(0.2, going.set).start()
    assert list(in_order(lambda _: going.wait(600), [1, 2])) == [True, True]
