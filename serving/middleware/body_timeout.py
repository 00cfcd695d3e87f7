"""Keeps clients that send their body very slowly from holding a connection forever."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..middleware.admission import ARRIVED


class BodyTimeout:
    """Respond with 408 if a request's body takes longer than `seconds` to arrive."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        until = asyncio.get_running_loop().time() + self._seconds
        reading = ARRIVED not in scope.get("state", {})

        async def receive_in_time() -> Message:
            nonlocal reading
            if not reading:
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "The request's body took too long.") from None
            reading = message.get("more_body", False)
            return message

        await self._app(scope, receive_in_time if scope["type"] == "http" else receive, send)
