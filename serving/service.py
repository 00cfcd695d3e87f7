"""The context that every route receives."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from psycopg import Connection, errors
from psycopg.rows import TupleRow

from clip_assets.keys import Key
from clip_assets.search import search as index
from clip_assets.search.search import Release

from .bulkhead import Deadline
from .errors import IndexDamaged, NotFound
from .live import Live, Snapshot
from .middleware.access import key_of
from .middleware.access_log import notes_of
from .middleware.admission import client_gone, since_arrival
from .originals import Originals
from .other_model import OtherModel
from .settings import ServingSettings
from .writing import Writing

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """The parts of the service that a request uses, with the request's deadline and key."""

    settings: ServingSettings
    live: Live
    deadline: Deadline
    originals: Originals
    writing: Writing
    other: OtherModel
    key: Key | None

    async def snapshot(self, collection: str | None, release_id: int | None) -> Snapshot:
        """The collection's live release, or an earlier one, with the loaded encoder.

        Raises NotFound if there is no such release, or if its index is dropped.
        """
        live = self.live.require(collection)
        name = live.release.collection
        if release_id in (None, live.release.id):
            return live
        release = await self.live.database.run(
            lambda connection: index.release_of(connection, name, int(release_id or 0)),
            self.deadline,
        )
        if release is None:
            raise NotFound(f"{name} has no release {release_id} whose index still exists.")
        return Snapshot(release, live.encoder)

    def encodable(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with an encoder of its release's model; raises a Refusal as OtherModel."""
        if snapshot.same_texts:
            return snapshot
        return replace(snapshot, encoder=self.other.encoder(snapshot.release))

    @property
    def passed_ms(self) -> float:
        """Milliseconds since the whole request arrived."""
        return round((self.settings.deadline_seconds - self.deadline.left) * 1000, 2)

    async def ask(self, release: Release, work: Callable[[Connection[TupleRow]], T]) -> T:
        """The result of `work` on a connection: a page of hits, an image, or None.

        Raises IndexDamaged if the result is empty because the index lost its rows.
        """

        def checked(connection: Connection[TupleRow]) -> T:
            try:
                found = work(connection)
            except errors.UndefinedTable as error:
                raise IndexDamaged(release) from error
            if found is None or getattr(found, "hits", True) == ():
                self.live.canary.check(connection, release)
            return found

        return await self.live.database.run(checked, self.deadline)


def context_of(request: Request) -> Context:
    """The request's context.

    The deadline starts once the whole body has arrived: a slow upload does not count, but time
    spent waiting for the event loop does.
    """
    settings: ServingSettings = request.app.state.settings
    left = settings.deadline_seconds - since_arrival(request.scope)
    gone = partial(client_gone, request.scope)
    deadline = Deadline.within(left, gone, notes_of(request.scope))
    state = request.app.state
    return Context(
        settings,
        state.live,
        deadline,
        state.originals,
        state.writing,
        state.other,
        key_of(request.scope),
    )


async def _context(request: Request) -> Context:
    """A coroutine, because FastAPI calls plain functions in a thread."""
    return context_of(request)


ContextDep = Annotated[Context, Depends(_context)]
