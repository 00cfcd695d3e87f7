"""A proxy in front of an S3-compatible server, which does to some requests what networks do."""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import unquote, urlsplit

FAULTS = ("error", "delay", "cut answer", "lost answer", "half upload", "twice", "late list")
_DELAY_SECONDS = 0.2
_HOPS = ("transfer-encoding", "connection", "content-length", "date", "server")


class FaultyStore:
    """Where the proxy listens, the share of requests that meet a fault, and what it did."""

    def __init__(self, address: str, chance: Random) -> None:
        self.address = address
        self.share = 0.0
        self.done: Counter[str] = Counter()
        self._chance = chance
        self._deck: list[str] = []
        self._until_next = 0
        self._written = b""
        self._hidden = b""
        self._lock = threading.Lock()

    def next_fault(self) -> str | None:
        """Time and order are random, but no kind is repeated before all kinds have occurred, and
        no gap is longer than twice the mean."""
        with self._lock:
            if not self.share:
                return None
            if self._until_next:
                self._until_next -= 1
                return None
            self._until_next = self._chance.randrange(round(2 / self.share) - 1)
            if not self._deck:
                self._deck = self._chance.sample(FAULTS, len(FAULTS))
            fault = self._deck.pop()
            self.done[fault] += 1
            return fault

    def wrote(self, path: str) -> None:
        """Note the key of the newest object; `path` is the request's, with the bucket."""
        self._written = unquote(urlsplit(path).path).lstrip("/").partition("/")[2].encode()

    def hide_newest(self) -> None:
        """Leave the newest object out of the next list."""
        self._hidden = self._written

    def shown(self, listed: bytes) -> bytes:
        """The list of a store that does not show its newest object yet."""
        with self._lock:
            hidden, self._hidden = self._hidden, b""
        if not hidden:
            return listed
        entry = rb"<Contents>\s*<Key>" + re.escape(hidden) + rb"</Key>.*?</Contents>"
        return re.sub(entry, b"", listed, flags=re.DOTALL)


@contextmanager
def faulty_store(target: str, chance: Random) -> Iterator[FaultyStore]:
    """Passes requests to `target`.

    Faults: the answer is 503; it comes late; it breaks off; it never comes although the request was
    done; the request breaks off in the middle of the body; the request is done twice; the next list
    lacks the object that was written last.
    """
    host, port = urlsplit(target).hostname, urlsplit(target).port
    assert host
    assert port

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = store.next_fault()
            if fault == "error":
                self.close_connection = True
                return self.send_error(503)
            if fault == "delay":
                time.sleep(_DELAY_SECONDS)
            if fault == "half upload":
                return self._hang_up(body)
            status, headers, answer = self._passed_on(body)
            if fault == "twice":
                status, headers, answer = self._passed_on(body)
            if fault == "late list":
                store.hide_newest()
            if self.command == "PUT":
                store.wrote(self.path)
            if "list-type=2" in self.path:
                answer = store.shown(answer)
                headers = [
                    (name, value) for name, value in headers if name.lower() != "content-length"
                ]
            if fault == "lost answer":
                self.close_connection = True
                return None
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in _HOPS:
                    self.send_header(name, value)
            lengths = {name.lower(): value for name, value in headers}
            self.send_header("Content-Length", lengths.get("content-length", str(len(answer))))
            self.end_headers()
            if fault == "cut answer":
                self.close_connection = True
                answer = answer[: len(answer) // 2]
            self.wfile.write(answer)
            return None

        do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815

        def _passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            upstream = HTTPConnection(host, port, timeout=60)
            try:
                upstream.request(self.command, self.path, body, dict(self.headers.items()))
                answer = upstream.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            finally:
                upstream.close()

        def _hang_up(self, body: bytes) -> None:
            """Send half of the body to the store, then close the connection."""
            self.close_connection = True
            upstream = HTTPConnection(host, port, timeout=60)
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body[: len(body) // 2])
            upstream.close()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    store = FaultyStore(f"http://127.0.0.1:{server.server_port}", chance)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
