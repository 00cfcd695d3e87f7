"""Refuses requests before they are parsed, if they cannot be answered in time.

One event loop parses, validates and answers. If it also parsed requests that it must refuse later,
that work would delay the answers: at five times its capacity, the service would answer a third of
what it can, seconds late.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..middleware.access_log import AccessLog
from ..middleware.headers import HEADERS
from ..middleware.prefix import route_path
from ..problem import MEDIA_TYPE, problem
from ..settings import ServingSettings

ARRIVED = "serving.arrived"
"""The key in a request's `state` for the time, by the event loop, when all of it had arrived."""

GONE = "serving.gone"
"""The key in a request's `state` for a function that says whether its client has disconnected."""

MESSAGE = "Too many requests are being answered. Try again shortly."
BODY = json.dumps(problem(503, "busy", MESSAGE)).encode()
START: Message = {
    "type": "http.response.start",
    "status": 503,
    "headers": [
        (name.lower().encode(), value.encode())
        for name, value in {
            **HEADERS,
            "Cache-Control": "no-store",
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(BODY)),
            "Retry-After": "1",
        }.items()
    ],
}


def since_arrival(scope: Scope) -> float:
    """Seconds since the whole request arrived; 0 if it has not yet."""
    now = asyncio.get_running_loop().time()
    waited: float = now - scope.get("state", {}).get(ARRIVED, now)
    return waited


def client_gone(scope: Scope) -> bool:
    """Whether the client has disconnected. Calling `receive` to find out, as Starlette does, takes
    a tenth of a search's time on the event loop."""
    gone: Callable[[], bool] | None = scope.get("state", {}).get(GONE)
    return gone is not None and gone()


@dataclass
class Lane:
    """Requests of one kind: the limit on concurrent requests, and how many there are now."""

    bound: int
    inside: int = 0

    @property
    def full(self) -> bool:
        return self.inside >= self.bound


class Admission:
    """The outermost layer. A request takes a place once all of it has arrived, so that a client
    that sends its body slowly takes no place from others."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ServingSettings,
        count: Callable[[dict[str, Any]], None],
    ) -> None:
        self._app = app
        self._refuse = AccessLog(_refused, count)
        self._most_seconds = settings.deadline_seconds / 2
        self._searches = Lane(settings.admitted_searches)
        self._uploads = Lane(settings.admitted_uploads)
        self._reads = Lane(settings.admitted_reads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        lane = self._lane(scope)
        if lane is None:
            return await self._app(scope, receive, send)
        if lane.full or since_arrival(scope) > self._most_seconds:
            return await self._refuse(scope, receive, send)
        entered = ARRIVED in scope.get("state", {})
        lane.inside += entered

        async def receive_and_enter() -> Message:
            nonlocal entered
            message = await receive()
            if not entered and not message.get("more_body", False):
                if lane.full:
                    raise HTTPException(503, MESSAGE, {"Retry-After": "1"})
                lane.inside += 1
                entered = True
            return message

        try:
            await self._app(scope, receive_and_enter, send)
        finally:
            lane.inside -= entered

    def _lane(self, scope: Scope) -> Lane | None:
        """The lane of a request; None for the page, its files and health, which have no limit."""
        path = route_path(scope)
        if path.startswith(("/v1/search/image", "/v1/embed/image")):
            return self._uploads
        if path.startswith(("/v1/search", "/v1/embed", "/v1/compare")):
            return self._searches
        if path.startswith(("/v1/", "/thumbnails/")):
            return self._reads
        return None


async def _refused(_: Scope, __: Receive, send: Send) -> None:
    await send({**START, "headers": list(START["headers"])})
    await send({"type": "http.response.body", "body": BODY})
