"""Several searches of one request: encoded together, and searched side by side."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from .answer import Prepared, finished, prepared
from .encoder import EncodedText, QueryEncoder
from .errors import Refusal, Unavailable
from .query import SearchRequest
from .schema import SearchAnswer
from .service import Context

T = TypeVar("T")
R = TypeVar("R")
Encoded = dict[QueryEncoder, dict[str, EncodedText]]


async def all_answered(
    queries: Sequence[SearchRequest], context: Context
) -> list[SearchAnswer | Refusal]:
    """The answer to each search, or why it has none, in the order of the searches.

    Raises Unavailable if one of them cannot be answered now; the client then repeats the request.
    """
    ready = [await _kept(prepared(query, context)) for query in queries]
    encoded = await _encoded([one for one in ready if isinstance(one, Prepared)], context)
    deadline = context.deadline
    sums = dict.fromkeys(("results", "database_ms", "database_wait_ms"), 0.0)

    async def answer(one: Prepared | Refusal) -> SearchAnswer | Refusal:
        if isinstance(one, Refusal):
            return one
        # The searches overlap, so each needs its own times.
        own = {name: ms for name, ms in deadline.notes.items() if one.texts and "encoder" in name}
        alone = replace(context, deadline=replace(deadline, notes=own))
        found = await _kept(finished(one, encoded[one.snapshot.encoder], alone))
        sums.update({name: round(sums[name] + own.get(name, 0), 2) for name in sums})
        return found

    most = max(1, context.settings.pool_size // 2)
    found = await side_by_side(answer, ready, lambda: context.live.database.idle, most)
    deadline.notes.update(sums)
    return found


async def side_by_side(
    work: Callable[[T], Awaitable[R]], items: Sequence[T], idle: Callable[[], int], most: int
) -> list[R]:
    """The results of `work` on the items, in their order. One item is always in progress, and up to
    `most` while enough threads are idle, so other requests wait for one search at most.

    Raises the first exception that `work` raises, and cancels the others.
    """
    tasks: list[asyncio.Task[R]] = []
    running: set[asyncio.Task[R]] = set()
    try:
        while len(tasks) < len(items) or running:
            room = max(min(most - len(running), idle()), 1 - len(running))
            for item in items[len(tasks) : len(tasks) + max(0, room)]:
                tasks.append(asyncio.ensure_future(work(item)))
                running.add(tasks[-1])
            ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
    finally:
        for task in running:
            task.cancel()
    return [task.result() for task in tasks]


async def _encoded(ready: Sequence[Prepared], context: Context) -> Encoded:
    """The vectors of all texts, by encoder. They are encoded one full batch at a time, so that the
    texts of other requests are encoded in between."""
    texts: dict[QueryEncoder, dict[str, None]] = defaultdict(dict)
    for one in ready:
        texts[one.snapshot.encoder].update(dict.fromkeys(one.texts))
    found: Encoded = {encoder: {} for encoder in texts}
    for encoder, wanted in texts.items():
        names, most = [*wanted], context.settings.encoder_batch
        for some in (names[first : first + most] for first in range(0, len(names), most)):
            vectors = await encoder.texts(some, context.deadline)
            found[encoder].update(zip(some, vectors, strict=True))
    return found


async def _kept(answering: Awaitable[T]) -> T | Refusal:
    """The result, or the refusal that concerns this search alone."""
    try:
        return await answering
    except Unavailable:
        raise
    except Refusal as refusal:
        return refusal
