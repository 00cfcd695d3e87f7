"""Logs one line of JSON per request, without its query, its image or its client's address."""

import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("serving.access")

_NOTES = "serving.notes"


def notes_of(scope: Scope) -> dict[str, Any]:
    """The dict in which a request's handlers collect fields for its log line."""
    notes: dict[str, Any] = scope.setdefault(_NOTES, {})
    return notes


class AccessLog:
    """Time, count and log each request, with an id that the response also carries."""

    def __init__(self, app: ASGIApp, count: Callable[[dict[str, Any]], None]) -> None:
        self._app = app
        self._count = count
        # Ids need not be secret, and `uuid4` makes a system call each time, during which another
        # thread may take the GIL from the event loop.
        self._chance = random.Random()  # noqa: S311

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        line: dict[str, Any] = {
            "id": f"{self._chance.getrandbits(128):032x}",
            "status": 0,
            "bytes": 0,
        }
        started = time.perf_counter()

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                line["status"] = message["status"]
                sent = (b"x-request-id", line["id"].encode())
                message["headers"] = [*message.get("headers", ()), sent]
            else:
                line["bytes"] += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            line["ms"] = round((time.perf_counter() - started) * 1000, 2)
            whole = _line(scope, line)
            self._count(whole)
            logger.info(json.dumps(whole))


def _line(scope: Scope, line: dict[str, Any]) -> dict[str, Any]:
    """Log the route instead of the path, because a path may contain an image's name."""
    route = getattr(scope.get("route"), "path", None)
    return {"method": scope["method"], "route": route, **line, **notes_of(scope)}
