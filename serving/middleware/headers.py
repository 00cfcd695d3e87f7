"""Security headers on every response, errors included."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..middleware.prefix import route_path

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "img-src 'self' blob:",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class SecurityHeaders:
    """Tell browsers to run only our own files and to let no other site embed the page.

    `embeddable` lets other sites show thumbnails and read answers, as CORS then allows.
    """

    def __init__(self, app: ASGIApp, *, embeddable: bool = False) -> None:
        self._app = app
        policy = {"Cross-Origin-Resource-Policy": "cross-origin"} if embeddable else {}
        sent = (HEADERS | policy).items()
        self._raw = [(name.lower().encode(), value.encode()) for name, value in sent]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        static = route_path(scope).startswith("/static/")
        cached = b"no-cache" if static else b"no-store"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The application sets none of these, so there is nothing to replace.
                headers = [*message.get("headers", ()), *self._raw]
                if all(name.lower() != b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", cached))
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, send_with_headers)
