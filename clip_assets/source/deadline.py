"""Ends a listing if a mount or a server does not answer."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from typing import NoReturn, TypeVar

from clip_assets.errors import SourceError
from clip_assets.source.ordered import Late, in_order

SECONDS = 300.0
"""The default deadline. A store's client gives up earlier."""

_STEP = 500
"""Items passed on at a time, because passing on each by itself would cost as much as listing it."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Deadline:
    """The seconds that each step of a listing may take; None for no limit, as with the Hugging Face
    hub, whose client has its own deadlines and waits when the hub asks it to.
    """

    seconds: float | None

    def each(
        self, items: Iterable[Item | None], where: Callable[[], str], step: int = _STEP
    ) -> Iterator[Item]:
        """The items that are not None; a None only shows that the listing is making progress.

        Raises SourceError, which names `where()`, if the next `step` items take longer than the
        deadline. The thread that waits for them is then abandoned, because nothing can end its
        call.
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
        """The result of `work`. Raises SourceError like `each`, or what `work` raises."""
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
