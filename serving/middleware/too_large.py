"""Turns 413, which the framework sends as plain text, into a problem like all other errors."""

import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..problem import MEDIA_TYPE, problem

BODY = json.dumps(problem(413, "too_large", "The request body is larger than the limit.")).encode()
HEADERS = [
    (b"content-type", MEDIA_TYPE.encode()),
    (b"content-length", str(len(BODY)).encode()),
    (b"connection", b"close"),  # the unread rest of the body is still in the connection
]


class TooLarge:
    """Rewrites 413 responses, because the body limit bypasses all exception handlers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rewriting = False

        async def send_rewritten(message: Message) -> None:
            nonlocal rewriting
            if message["type"] == "http.response.start" and message["status"] == 413:
                rewriting = True
                message = {**message, "headers": list(HEADERS)}
            elif rewriting:
                message = {**message, "body": BODY}
            await send(message)

        await self._app(scope, receive, send_rewritten)
