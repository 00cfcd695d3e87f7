"""The bulkhead limits work: it queues a few calls, refuses the rest, and keeps deadlines."""

import asyncio
import os
import sys
import threading
import time

import pytest

from serving.bulkhead import Bulkhead, Deadline
from serving.errors import Busy, ClientGone, DeadlineExceeded


async def _hold(
    bulkhead: Bulkhead, release: threading.Event, count: int
) -> "list[asyncio.Task[bool]]":
    tasks = [
        asyncio.create_task(bulkhead.run(release.wait, Deadline.within(600))) for _ in range(count)
    ]
    await asyncio.sleep(0.05)
    return tasks


async def _when_free(bulkhead: Bulkhead) -> str:
    until = time.monotonic() + 300
    while True:
        try:
            return await bulkhead.run(lambda: "free", Deadline.within(600))
        except Busy:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)


def test_a_call_is_refused_at_once_if_the_queue_is_full() -> None:
    """With one thread busy and two calls waiting, a fourth call does not wait for its deadline."""

    async def scenario() -> None:
        bulkhead, release = Bulkhead("encoder", 1, 2), threading.Event()
        held = await _hold(bulkhead, release, 3)
        with pytest.raises(Busy):
            await bulkhead.run(lambda: None, Deadline.within(600))
        release.set()
        assert await asyncio.gather(*held) == [True] * 3
        assert await bulkhead.run(lambda: "again", Deadline.within(600)) == "again"

    asyncio.run(scenario())


def test_a_deadline_ends_the_wait_for_a_thread() -> None:
    """A call that gets no thread fails at its deadline and leaves the queue."""

    async def scenario() -> None:
        bulkhead, release = Bulkhead("encoder", 1, 1), threading.Event()
        held = await _hold(bulkhead, release, 1)
        for _ in range(3):
            with pytest.raises(DeadlineExceeded):
                await bulkhead.run(lambda: None, Deadline.within(0.1))
        release.set()
        await asyncio.gather(*held)

    asyncio.run(scenario())


def test_a_call_that_would_wait_past_its_deadline_is_refused_at_once() -> None:
    """How long a call waits is known from how long calls took, so that nobody waits for nothing."""

    async def scenario() -> None:
        bulkhead, release = Bulkhead("encoder", 1, 9), threading.Event()
        await bulkhead.run(lambda: time.sleep(0.2), Deadline.within(600))
        held = await _hold(bulkhead, release, 5)  # they will take at least 0.1 s
        with pytest.raises(Busy):
            await bulkhead.run(lambda: None, Deadline.within(0.09))
        held += [asyncio.create_task(bulkhead.run(release.wait, Deadline.within(600)))]
        release.set()
        assert await asyncio.gather(*held) == [True] * 6

    asyncio.run(scenario())


def test_work_past_its_deadline_keeps_its_thread_but_not_its_caller() -> None:
    """The caller returns at the deadline; the slot stays taken until the work really ends."""

    async def scenario() -> None:
        bulkhead, release = Bulkhead("database", 1, 0), threading.Event()
        with pytest.raises(DeadlineExceeded):
            await bulkhead.run(release.wait, Deadline.within(0.1))
        with pytest.raises(Busy):
            await bulkhead.run(lambda: None, Deadline.within(600))
        release.set()
        assert await _when_free(bulkhead) == "free"

    asyncio.run(scenario())


def test_no_work_is_done_for_disconnected_clients() -> None:
    """Twenty calls whose clients disconnected while waiting do no work."""

    async def scenario() -> None:
        bulkhead, worked = Bulkhead("encoder", 1, 30), []
        calls = [
            bulkhead.run(
                lambda: worked.append(1), Deadline(Deadline.within(600).until, lambda: True)
            )
            for _ in range(20)
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, ClientGone) for outcome in outcomes)
        assert not worked
        assert await bulkhead.run(lambda: "free", Deadline.within(600)) == "free"

    asyncio.run(scenario())


def test_an_error_of_the_work_reaches_the_caller() -> None:
    """The work's own exception is raised unchanged, and the bulkhead stays usable."""

    async def scenario() -> None:
        bulkhead = Bulkhead("encoder", 1, 0)
        with pytest.raises(ZeroDivisionError):
            await bulkhead.run(lambda: 1 // 0, Deadline.within(600))
        assert await bulkhead.run(lambda: "on", Deadline.within(600)) == "on"

    asyncio.run(scenario())


def test_waiting_and_working_time_are_noted_separately() -> None:
    """The access log gets both, in milliseconds."""

    async def scenario() -> None:
        bulkhead, begun, release = Bulkhead("encoder", 1, 1), threading.Event(), threading.Event()
        working, waiting = Deadline.within(600), Deadline.within(600)

        def work() -> bool:
            begun.set()
            return release.wait()

        calls = [
            asyncio.create_task(bulkhead.run(work, working)),
            asyncio.create_task(bulkhead.run(lambda: True, waiting)),
        ]
        while not begun.is_set():
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        release.set()
        await asyncio.gather(*calls)
        assert working.notes["encoder_ms"] >= 40
        assert waiting.notes["encoder_wait_ms"] >= 40
        assert waiting.notes.keys() == {"encoder_ms", "encoder_wait_ms"}

    asyncio.run(scenario())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority")
def test_the_threads_of_a_nice_bulkhead_give_way() -> None:
    """To all others of the process, which keep their priority."""

    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async def scenario() -> None:
        usual = priority()
        assert await Bulkhead("encoder", 1, 0, nice=3).run(priority, Deadline.within(600)) == min(
            usual + 3, 19
        )
        assert await Bulkhead("database", 1, 0).run(priority, Deadline.within(600)) == usual
        assert priority() == usual

    asyncio.run(scenario())
