"""What every route is given."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from serving.bulkhead import Deadline
from serving.live import Live
from serving.middleware.access_log import notes_of
from serving.settings import ServingSettings


@dataclass(frozen=True)
class Context:
    """One request's view of the service: its limits, what is live, and the deadline's claim."""

    settings: ServingSettings
    live: Live
    deadline: Deadline


async def _context(request: Request) -> Context:
    """The deadline's time starts when the body has arrived: a slow upload is not a slow answer."""
    settings: ServingSettings = request.app.state.settings
    deadline = Deadline.within(
        settings.deadline_seconds, request.is_disconnected, notes_of(request.scope)
    )
    return Context(settings, request.app.state.live, deadline)


ContextDep = Annotated[Context, Depends(_context)]
