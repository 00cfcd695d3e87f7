"""Security headers on every response, errors included."""

from starlette.datastructures import MutableHeaders
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
        self._headers = HEADERS | policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        static = route_path(scope).startswith("/static/")
        cached = "no-cache" if static else "no-store"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                headers.setdefault("Cache-Control", cached)
            await send(message)

        await self._app(scope, receive, send_with_headers)
