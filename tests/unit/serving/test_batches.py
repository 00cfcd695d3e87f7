"""Calls that wait together run as one; each keeps its own deadline, client and error."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest

from serving.batches import Batches
from serving.bulkhead import Bulkhead, Deadline
from serving.errors import Busy, ClientGone, DeadlineExceeded

LONG = 600.0


@dataclass
class Work:
    """Doubles numbers, each call only once it may; a negative number is an error."""

    calls: list[list[int]] = field(default_factory=list)
    may_end: threading.Event = field(default_factory=threading.Event)

    def __call__(self, items: list[int]) -> list[int]:
        self.calls.append(items)
        assert self.may_end.wait(LONG)
        if wrong := [item for item in items if item < 0]:
            raise ValueError(wrong)
        return [item * 2 for item in items]


@dataclass
class Service:
    """A bulkhead with one thread, which the call of 0 has taken."""

    work: Work
    batches: Batches[int, int]
    first: "asyncio.Task[list[int]]"

    def ask(
        self, *items: int, seconds: float = LONG, gone: Callable[[], bool] | None = None
    ) -> "asyncio.Task[list[int]]":
        deadline = Deadline.within(seconds, gone) if gone else Deadline.within(seconds)
        return asyncio.create_task(self.batches.run(items, deadline))

    async def answered(self, *tasks: "asyncio.Task[list[int]]") -> list[list[int] | BaseException]:
        self.work.may_end.set()
        return (await asyncio.gather(self.first, *tasks, return_exceptions=True))[1:]


def _run(
    scenario: Callable[[Service], Coroutine[object, object, None]], most: int = 8, waiting: int = 9
) -> None:
    async def with_the_thread_taken() -> None:
        work = Work()
        batches = Batches("encoder", Bulkhead("encoder", 1, waiting), work, most)
        service = Service(work, batches, asyncio.create_task(batches.run([0], _long())))
        await _until(lambda: work.calls == [[0]])
        await scenario(service)

    asyncio.run(with_the_thread_taken())


def _long() -> Deadline:
    return Deadline.within(LONG)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not true():
            await asyncio.sleep(0)


async def _settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_calls_that_wait_at_the_same_time_run_as_one() -> None:
    """Five calls wait while the thread is taken; then one call has the items of all of them."""

    async def scenario(service: Service) -> None:
        calls = [service.ask(number) for number in range(1, 6)]
        await _settled()
        assert await service.answered(*calls) == [[2], [4], [6], [8], [10]]
        assert service.work.calls == [[0], [1, 2, 3, 4, 5]]

    _run(scenario)


def test_a_call_does_not_wait_for_others_while_a_thread_is_free() -> None:
    """It runs alone, at once."""

    async def scenario() -> None:
        work = Work()
        work.may_end.set()
        batches = Batches("encoder", Bulkhead("encoder", 1, 0), work, 8)
        assert [await batches.run([number], _long()) for number in (1, 2)] == [[2], [4]]
        assert work.calls == [[1], [2]]

    asyncio.run(scenario())


def test_a_batch_is_bounded() -> None:
    """What exceeds it waits for the next batch; a call that alone exceeds it is one of its own."""

    async def scenario(service: Service) -> None:
        calls = [service.ask(1, 2), service.ask(3), service.ask(4, 5, 6, 7), service.ask(8)]
        await _settled()
        expected = [[2, 4], [6], [8, 10, 12, 14], [16]]
        assert await service.answered(*calls) == expected
        assert service.work.calls == [[0], [1, 2, 3], [4, 5, 6, 7], [8]]

    _run(scenario, most=3)


def test_a_call_is_refused_at_once_if_the_queue_is_full() -> None:
    """One batch may wait, and it is full; once it runs, others may wait again."""

    async def scenario(service: Service) -> None:
        waiting = [service.ask(1), service.ask(2)]
        await _settled()
        with pytest.raises(Busy):
            await service.ask(3)
        assert await service.answered(*waiting) == [[2], [4]]
        assert await service.ask(4) == [8]

    _run(scenario, most=2, waiting=1)


def test_a_call_that_would_wait_past_its_deadline_is_refused_at_once() -> None:
    """How long a call waits is known from how long batches took."""

    async def scenario() -> None:
        bulkhead, release = Bulkhead("encoder", 1, 9), threading.Event()
        batches = Batches("encoder", bulkhead, lambda items: [release.wait(0.2)] * len(items), 2)
        await batches.run([1], _long())
        held = [asyncio.create_task(batches.run([1, 2], _long())) for _ in range(5)]
        await _settled()  # they will take at least 0.1 s
        with pytest.raises(Busy):
            await batches.run([1], Deadline.within(0.09))
        release.set()
        await asyncio.gather(*held)

    asyncio.run(scenario())


def test_a_call_that_expires_costs_the_others_nothing() -> None:
    """It fails at its own deadline, and its item is not worked on."""

    async def scenario(service: Service) -> None:
        short, long = service.ask(1, seconds=0.05), service.ask(2)
        with pytest.raises(DeadlineExceeded):
            await short
        assert await service.answered(long) == [[4]]
        assert service.work.calls == [[0], [2]]

    _run(scenario)


def test_a_call_that_expires_while_its_batch_runs_leaves_the_others_theirs() -> None:
    """They still get their results."""

    async def scenario() -> None:
        work = Work()
        batches = Batches("encoder", Bulkhead("encoder", 1, 0), work, 8)
        short = asyncio.create_task(batches.run([1], Deadline.within(0.05)))
        long = asyncio.create_task(batches.run([2], _long()))
        with pytest.raises(DeadlineExceeded):
            await short
        work.may_end.set()
        assert await long == [4]
        assert work.calls == [[1, 2]]

    asyncio.run(scenario())


def test_a_cancelled_call_costs_the_others_nothing() -> None:
    """Its item is not worked on, nor is that of a client that has disconnected."""

    async def scenario(service: Service) -> None:
        cancelled, left, stays = service.ask(1), service.ask(2, gone=lambda: True), service.ask(3)
        await _settled()
        cancelled.cancel()
        outcomes = await service.answered(cancelled, left, stays)
        assert isinstance(outcomes[0], asyncio.CancelledError)
        assert isinstance(outcomes[1], ClientGone)
        assert outcomes[2] == [6]
        assert service.work.calls == [[0], [3]]

    _run(scenario)


def test_a_batch_that_nobody_waits_for_does_no_work() -> None:
    """Its place is free for the next one."""

    async def scenario(service: Service) -> None:
        cancelled = service.ask(1)
        await _settled()
        cancelled.cancel()
        await service.answered(cancelled)
        assert await service.ask(2) == [4]
        assert service.work.calls == [[0], [2]]

    _run(scenario, waiting=1)


def test_an_error_fails_only_the_call_whose_item_it_is() -> None:
    """The others of its batch are tried once more, each alone."""

    async def scenario(service: Service) -> None:
        calls = [service.ask(1), service.ask(-2), service.ask(3, 4)]
        await _settled()
        one, wrong, two = await service.answered(*calls)
        assert (one, two) == ([2], [6, 8])
        assert isinstance(wrong, ValueError)
        assert wrong.args == ([-2],)
        assert service.work.calls[1:] == [[1, -2, 3, 4], [1], [-2], [3], [4]]

    _run(scenario)


def test_waiting_and_working_time_are_noted_for_each_call() -> None:
    """The access log gets both, in milliseconds; who came later has waited less."""

    async def scenario(service: Service) -> None:
        early, late = _long(), _long()
        calls = [asyncio.create_task(service.batches.run([1], early))]
        await asyncio.sleep(0.05)
        calls.append(asyncio.create_task(service.batches.run([2], late)))
        await _settled()
        await service.answered(*calls)
        assert early.notes.keys() == late.notes.keys() == {"encoder_wait_ms", "encoder_ms"}
        assert early.notes["encoder_wait_ms"] >= late.notes["encoder_wait_ms"] + 40

    _run(scenario)
