"""uvicorn with a graceful shutdown, on a socket that is already bound."""

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import Callable
from ipaddress import ip_address
from types import FrameType

import uvicorn
from fastapi import FastAPI

from clip_assets.errors import SettingsError
from clip_assets.keys import KeyFile

from .connections import BACKLOG, Connections
from .live import Live
from .settings import ServingSettings
from .syn_filter import drop_new_connections

logger = logging.getLogger(__name__)

GRACE_SECONDS = 10
_LINGER_SECONDS = 0.5
"""Between the last new connection and the shutdown, so that requests in flight still arrive."""
_OPENING_SECONDS = 0.25
"""For connections that are being opened when the port starts to close: a round trip or two."""
_RETIRED_SECONDS = 2.0
"""So that clients of a replaced worker can send one more request and be told to reconnect."""
_CLOSE = (b"connection", b"close")


def config_of(app: FastAPI, settings: ServingSettings) -> uvicorn.Config:
    """uvicorn's configuration for this service; its log lines go to our handlers."""
    return uvicorn.Config(
        app,
        http=Connections(  # type: ignore[arg-type]
            settings.connections, settings.head_seconds, settings.read_seconds
        ),
        backlog=BACKLOG,
        access_log=False,
        log_config=None,
        server_header=False,
        ws="none",
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


class DrainingServer(uvicorn.Server):
    """On SIGTERM, reports unready and closes `drain_seconds` later, so that load balancers notice.

    Ctrl-C or a second signal closes it at once.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        live: Live,
        drain_seconds: float,
        on_start: "Callable[[DrainingServer], None]",
    ) -> None:
        super().__init__(config)
        self._live = live
        self._drain_seconds = drain_seconds
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening = sockets or []
        self._loop = asyncio.get_running_loop()
        self._on_start(self)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGTERM or self._live.draining or not self.started:
            super().handle_exit(sig, frame)
            return
        self._live.draining = True
        self._loop.call_soon_threadsafe(self._close_after, self._drain_seconds)

    def retire(self) -> None:
        """Leave new connections to the other workers, and end soon after."""
        self._stop_accepting()
        self._listening = []  # the other workers use the socket, too
        self._close_after(_RETIRED_SECONDS)

    def _close_after(self, seconds: float) -> None:
        # Tell clients to reconnect, so that no connection is closed during a request.
        self.config.encoded_headers.append(_CLOSE)
        self.server_state.default_headers.append(_CLOSE)
        self._loop.call_later(seconds, self._close)

    def _close(self) -> None:
        for listening in self._listening:
            drop_new_connections(listening)
        self._loop.call_later(_OPENING_SECONDS, self._stop_accepting)
        seconds = _OPENING_SECONDS + _LINGER_SECONDS
        self._loop.call_later(seconds, super().handle_exit, signal.SIGTERM.value, None)

    def _stop_accepting(self) -> None:
        for server in self.servers:
            server.close()


def listen(host: str, port: int, step_over: bool) -> socket.socket:
    """A bound socket; with `step_over`, on the first free one of twenty ports from `port` on.

    Raises SettingsError if the address is not available.
    """
    for candidate in range(port, port + (20 if step_over and port else 1)):
        try:
            return _bound(host, candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise SettingsError(f"Cannot listen on {host}:{candidate}: {error}.") from error
            logger.warning("port %s is in use", candidate)
    raise SettingsError(f"Port {port} on {host} is in use. Choose another one with --port.")


def asks_for_keys(host: str, auth: bool | None, keys: KeyFile) -> bool:
    """Whether requests need a key: on every address but loopback, unless `auth` says otherwise.

    Raises SettingsError if they need one but there are none, because nobody could use the service.
    """
    needed = not _is_loopback(host) if auth is None else auth
    if needed and not keys.keys():
        raise SettingsError(
            f"{host} can be reached by other machines, and there are no API keys. Create one with "
            "`clip-assets keys add NAME`, or allow everybody with --no-auth."
        )
    return needed


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address(listening: socket.socket) -> str:
    """The address to open in a browser on this machine."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
    except OSError:
        listening.close()
        raise
    return listening
