"""The context that every route receives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from psycopg import Connection, errors
from psycopg.rows import TupleRow

from clip_assets.search.search import Hits, Release

from .bulkhead import Deadline
from .errors import IndexDamaged
from .live import Live
from .middleware.access_log import notes_of
from .middleware.admission import since_arrival
from .settings import ServingSettings

T = TypeVar("T")
NOTHING = Hits(())


@dataclass(frozen=True)
class Context:
    """What one request sees of the service: settings, live state and the request's deadline."""

    settings: ServingSettings
    live: Live
    deadline: Deadline

    async def ask(self, release: Release, work: Callable[[Connection[TupleRow]], T]) -> T:
        """The result of `work` on a connection: Hits, an image, or None.

        Raises IndexDamaged rather than return nothing because the index lost its rows.
        """

        def checked(connection: Connection[TupleRow]) -> T:
            try:
                found = work(connection)
            except errors.UndefinedTable as error:
                raise IndexDamaged(release) from error
            if found is None or found == NOTHING:
                self.live.canary.check(connection, release)
            return found

        return await self.live.database.run(checked, self.deadline)


async def _context(request: Request) -> Context:
    """The deadline starts once the whole body has arrived: a slow upload does not count, the time
    that the event loop took to get here does."""
    settings: ServingSettings = request.app.state.settings
    left = settings.deadline_seconds - since_arrival(request.scope)
    deadline = Deadline.within(left, request.is_disconnected, notes_of(request.scope))
    return Context(settings, request.app.state.live, deadline)


ContextDep = Annotated[Context, Depends(_context)]
