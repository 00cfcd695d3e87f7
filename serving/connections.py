"""uvicorn's HTTP protocol, with limits on what a client may hold before its request is complete.

uvicorn waits forever for a request's header and keeps any amount of it. hypercorn has timeouts but
parses in Python, at twice the processor time; granian has them in Rust, but runs the application in
its own processes, which cannot take part in our drain. So the limits are here, in uvicorn's hooks.
"""

import json
import logging
import resource
import time
from asyncio import AbstractEventLoop, BaseTransport, TimerHandle, Transport
from functools import partial
from typing import Any
from weakref import ref

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from .middleware.admission import ARRIVED, GONE
from .middleware.headers import HEADERS
from .problem import MEDIA_TYPE, problem

logger = logging.getLogger(__name__)
access = logging.getLogger("serving.access")

HEAD_BYTES = 64 * 2**10
BACKLOG = 128
"""Connections that the kernel accepts for us; all may arrive at once, in excess of the limit."""
_SAY_SECONDS = 60.0
_OTHER_FILES = 256  # a process's other files: database connections, weights, logs, the backlog


class Connections:
    """Makes and counts the connections of one server.

    `waiting` has the connections whose client must send something next, the longest waiting first.
    At the limit, a new connection replaces the first of them.
    """

    def __init__(self, limit: int, head_seconds: float, read_seconds: float) -> None:
        self.limit = max(1, min(limit, _open_files() - _OTHER_FILES))
        self.head_seconds = head_seconds
        self.read_seconds = read_seconds
        self.waiting: dict[Connection, None] = {}
        self._said = float("-inf")

    def make_room(self) -> None:
        """Close the connection that has been silent longest, and say so at most once a minute."""
        if time.monotonic() - self._said > _SAY_SECONDS:
            self._said = time.monotonic()
            logger.warning(
                "%d connections are open, which is the limit; new ones replace those that have "
                "been silent longest",
                self.limit,
            )
        longest = next(iter(self.waiting))
        del self.waiting[longest]
        longest.transport.abort()

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> "Connection":
        return Connection(self, config, server_state, app_state, _loop)


class Connection(HttpToolsProtocol):
    """One client's connection."""

    transport: Transport

    def __init__(self, all_of_them: Connections, *uvicorns: Any) -> None:
        super().__init__(*uvicorns)
        self._all = all_of_them
        self._timer: TimerHandle | None = None
        self._unread: TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None
        self._read = self._received = self._of_body = 0

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._all.waiting[self] = None
        self._start_timer()
        if len(self.connections) > self._all.limit:
            self._all.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_unread()
        self._all.waiting.pop(self, None)
        if self._answering:
            # uvicorn notifies only the last of pipelined requests
            self._answering.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._answered and self._timer is None:
            self._start_timer()
        self._read = len(data)
        self._received += len(data)
        super().data_received(data)
        # The body has its own limit. A chunk of one byte takes six bytes.
        if self._received > HEAD_BYTES + 8 * self._of_body:
            self._refuse(431, "header_too_large", "The request's header is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        # A pipelined request begins somewhere within the bytes of the same read.
        self._received = self._read if self._answered else 0
        self._of_body = 0

    def on_headers_complete(self) -> None:
        self._stop_timer()
        first = self._answered
        super().on_headers_complete()
        if self.cycle:
            self.scope["state"][GONE] = partial(_disconnected, ref(self.cycle))
        if first:
            self._answering = self.cycle

    def on_body(self, body: bytes) -> None:
        self._of_body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.scope["state"][ARRIVED] = self.loop.time()
        if not self._answered:
            self._all.waiting.pop(self, None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._answering = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if self._answered and not self.transport.is_closing():
            self._all.waiting[self] = None

    def pause_writing(self) -> None:
        """The client has stopped reading, so its answer waits and keeps a place from others."""
        super().pause_writing()
        self._stop_unread()
        self._unread = self.loop.call_later(self._all.read_seconds, self._cut)

    def resume_writing(self) -> None:
        self._stop_unread()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "bad_request", msg)

    @property
    def _answered(self) -> bool:
        """Whether every request so far is answered: what comes next is a header."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def _unanswered_alone(self) -> bool:
        """Whether nothing of an answer was sent for the only request that is not answered yet."""
        return self._answering is self.cycle and not self.cycle.response_started

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self._all.head_seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None

    def _cut(self) -> None:
        logger.info("closed a connection whose client did not read its answer")
        self.transport.abort()

    def _stop_unread(self) -> None:
        if self._unread:
            self._unread.cancel()
        self._unread = None

    def _too_slow(self) -> None:
        if self._received:
            self._refuse(408, "header_timeout", "The request's header took too long.")
        else:
            self.transport.close()

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer instead of the application, unless it is already answering, and close."""
        if self.transport.is_closing() or not (self._answered or self._unanswered_alone):
            self.transport.abort()
            return
        if not self._answered:
            self.cycle.disconnected = True  # the application's own answer is dropped
            self.cycle.message_event.set()
        access.info(json.dumps({"method": None, "route": None, "status": status, "code": code}))
        body = json.dumps(problem(status, code, message)).encode()
        headers = {
            **HEADERS,
            "Cache-Control": "no-store",
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[status] + lines.encode() + b"\r\n" + body)
        self.transport.close()


def _disconnected(answering: "ref[RequestResponseCycle]") -> bool:
    # A weak reference, because the cycle itself refers to the request's state.
    cycle = answering()
    return cycle is None or cycle.disconnected


def allow_open_files(connections: int) -> None:
    """Raise this process's own limit to what so many connections need, as far as it may: by default
    that is 256 on macOS, which would leave room for one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _open_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else soft
