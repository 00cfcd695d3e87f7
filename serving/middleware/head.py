"""Answers HEAD wherever GET is answered."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Head:
    """Treats HEAD as GET and omits the body, as HTTP requires."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await self._app(scope, receive, send)

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send_without_body)
        finally:
            scope.update(as_get, method="HEAD")  # what the access log reads, such as the route
        return None
