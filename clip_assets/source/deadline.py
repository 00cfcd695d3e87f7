"""Ends a listing that gets no answer: a mount or a server may never give one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from typing import NoReturn, TypeVar

from clip_assets.errors import SourceError
from clip_assets.source.ordered import Late, in_order

SECONDS = 300.0
"""By default. A store's client gives up earlier."""

_STEP = 500
"""Items that are waited for together: to pass on each alone would cost as much as listing it."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Deadline:
    """The seconds that each step of a listing may take; None if it takes as long as it needs, as
    with the Hugging Face hub, whose client has deadlines of its own and waits when it is asked to.
    """

    seconds: float | None

    def each(
        self, items: Iterable[Item | None], where: Callable[[], str], step: int = _STEP
    ) -> Iterator[Item]:
        """The items that are not None, which only show that the listing goes on.

        Raises SourceError if the next `step` items take longer than the deadline; it names
        `where()`. The thread that waits for them is then left behind: nothing ends its call.
        """
        going = iter(items)
        if self.seconds is None:
            yield from (item for item in going if item is not None)
            return
        late: Late[None, list[Item | None]] = Late(self.seconds, lambda _: self._raise(where()))
        steps = in_order(
            lambda _: list(islice(going, step)), repeat(None), threads=1, ahead=1, late=late
        )
        for found in steps:
            if not found:
                return
            yield from (item for item in found if item is not None)

    def call(self, work: Callable[[], Result], where: str) -> Result:
        """What `work` returns. Raises SourceError as `each`, or what it raises."""
        if self.seconds is None:
            return work()
        late: Late[None, Result] = Late(self.seconds, lambda _: self._raise(where))
        return next(in_order(lambda _: work(), [None], threads=1, late=late))

    def _raise(self, where: str) -> NoReturn:
        raise SourceError(
            f"{where} has not answered for {self.seconds:g} s. Check the mount, the disk or the "
            "server that has it, then run again; if it only needs longer, raise "
            "`deadline_seconds` in the collection's `source:`."
        )
