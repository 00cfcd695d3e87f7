"""API keys, roles and rate limits."""

import json
import math
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from clip_assets.errors import SettingsError
from clip_assets.keys import Key, KeyFile, Role

from ..middleware.prefix import route_path
from ..problem import MEDIA_TYPE, problem
from ..settings import ServingSettings

COOKIE = "clip_assets_key"
OPEN = frozenset({"/", "/livez", "/readyz", "/openapi.json", "/v1/session"})
"""Answered without a key: the page, health, the API's document, and the page's login."""

_KEY = "clip_assets.key"
_NEVER = {"detail": "Give an API key: `Authorization: Bearer …`."}


class Access:
    """Refuses requests without a key whose role suffices (401, 403) and those over the rate (429).

    Without a key file there is no authentication, and the rate limit is per address.
    """

    def __init__(
        self, app: ASGIApp, settings: ServingSettings, keys: KeyFile | None, rates: MemoryStorage
    ) -> None:
        self._app = app
        self._keys = keys
        self._per_key = _rate(settings.rate_per_key)
        self._per_address = _rate(settings.rate_per_address)
        self._limiter = SlidingWindowCounterRateLimiter(rates)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope)
        if scope["type"] != "http" or path in OPEN or path.startswith("/static/"):
            return await self._app(scope, receive, send)
        key: Key | None = None
        if self._keys is not None:
            try:
                key = self._keys.find(given(Headers(scope=scope)))
            except SettingsError as error:
                return await _refuse(send, 503, "not_ready", str(error), {"Retry-After": "2"})
            if key is None:
                headers = {"WWW-Authenticate": "Bearer"}
                return await _refuse(send, 401, "unauthenticated", _NEVER["detail"], headers)
            role = needed(scope["method"], path)
            if not key.may(role):
                detail = f"This needs a key with the role {role}; this key has {key.role}."
                return await _refuse(send, 403, "forbidden", detail)
        wait = self._wait(scope, key)
        if wait is not None:
            detail = "This client sent more requests than it may. Try again later."
            return await _refuse(send, 429, "rate_limited", detail, {"Retry-After": str(wait)})
        scope[_KEY] = key
        return await self._app(scope, receive, send)

    def _wait(self, scope: Scope, key: Key | None) -> int | None:
        """Seconds until the client may ask again; None if it may now."""
        client = (scope.get("client") or ("", 0))[0]
        asked = ("key", key.id, self._per_key) if key else ("address", client, self._per_address)
        kind, name, rate = asked
        if rate is None or self._limiter.hit(rate, kind, name):
            return None
        reset = self._limiter.get_window_stats(rate, kind, name).reset_time
        return max(1, math.ceil(reset - time.time()))


def needed(method: str, path: str) -> Role:
    """The role that a request needs."""
    if method == "DELETE":
        return "admin"
    return "judge" if path.startswith("/v1/judgements") else "search"


def key_of(scope: Scope) -> Key | None:
    """The request's key; None if the service requires none."""
    key: Key | None = scope.get(_KEY)
    return key


def _rate(text: str | None) -> RateLimitItem | None:
    return parse(text) if text else None


def given(headers: Headers) -> str:
    """The key in the request's header or cookie; empty if there is none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


async def _refuse(
    send: Send, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
) -> None:
    body = json.dumps(problem(status, code, detail)).encode()
    sent = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), **(headers or {})}
    raw = [(name.lower().encode(), value.encode()) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
