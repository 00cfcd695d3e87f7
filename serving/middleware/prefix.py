"""Serves everything below a path such as `/clip`, whether or not a proxy removes the path."""

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def route_path(scope: Scope) -> str:
    """The path below the prefix; it starts with a slash."""
    path: str = scope.get("path", "")
    return path.removeprefix(scope.get("root_path", ""))


class Prefix:
    """Sets ASGI's `root_path`, which `path` then starts with."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._prefix or scope["type"] != "http":
            return await self._app(scope, receive, send)
        path = scope["path"]
        if path == self._prefix:  # the page's relative addresses need the final slash
            return await RedirectResponse(f"{path}/")(scope, receive, send)
        if not path.startswith(f"{self._prefix}/"):
            path = self._prefix + path
        below = {**scope, "path": path, "root_path": self._prefix}
        return await self._app(below, receive, send)
