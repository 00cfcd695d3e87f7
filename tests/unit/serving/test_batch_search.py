"""Searches of one request run side by side on threads that nobody else needs."""

import asyncio
from dataclasses import dataclass, field

import pytest

from serving.batch_search import side_by_side


@dataclass
class Searches:
    """Searches that each end in their turn; the last one that began ends first."""

    idle: int
    most: int = 3
    running: list[int] = field(default_factory=list)
    at_once: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)

    async def one(self, number: int) -> str:
        self.running.append(number)
        try:
            await asyncio.sleep(0)
            self.at_once.append(len(self.running))
            while self.running[-1] != number:
                await asyncio.sleep(0)
            if number < 0:
                raise ValueError(number)
            return f"answer {number}"
        finally:
            self.running.remove(number)
            self.ended.append(number)

    def all(self, *numbers: int) -> list[str]:
        return asyncio.run(side_by_side(self.one, numbers, lambda: self.idle, self.most))


def test_answers_are_in_the_order_of_the_searches() -> None:
    """In whichever order they end; each is made once, and no more than may run at once."""
    searches = Searches(idle=100)
    assert searches.all(5, 3, 9, 1, 7) == [f"answer {number}" for number in (5, 3, 9, 1, 7)]
    assert searches.ended != [5, 3, 9, 1, 7]
    assert sorted(searches.ended) == [1, 3, 5, 7, 9]
    assert max(searches.at_once) == 3


def test_without_an_idle_thread_they_run_one_after_another() -> None:
    """So other requests wait no longer than for a single search."""
    searches = Searches(idle=0)
    assert len(searches.all(1, 2, 3, 4)) == 4
    assert set(searches.at_once) == {1}
    assert searches.ended == [1, 2, 3, 4]


def test_the_first_that_fails_ends_all() -> None:
    """Nothing goes on for an answer that nobody gets."""
    searches = Searches(idle=100)
    with pytest.raises(ValueError, match="-2"):
        searches.all(1, 4, -2, 3)
    assert not searches.running
    assert 3 not in searches.ended


def test_nothing_asked_is_nothing_answered() -> None:
    """It does not wait for anything."""
    assert Searches(idle=0).all() == []
