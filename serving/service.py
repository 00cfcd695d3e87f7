"""The context that every route receives."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from serving.bulkhead import Deadline
from serving.live import Live
from serving.middleware.access_log import notes_of
from serving.settings import ServingSettings


@dataclass(frozen=True)
class Context:
    """What one request sees of the service: settings, live state and the request's deadline."""

    settings: ServingSettings
    live: Live
    deadline: Deadline


async def _context(request: Request) -> Context:
    """The deadline starts once the whole body has arrived: a slow upload does not count."""
    settings: ServingSettings = request.app.state.settings
    deadline = Deadline.within(
        settings.deadline_seconds, request.is_disconnected, notes_of(request.scope)
    )
    return Context(settings, request.app.state.live, deadline)


ContextDep = Annotated[Context, Depends(_context)]
