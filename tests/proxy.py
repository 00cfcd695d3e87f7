"""A reverse proxy that shows a service below /clip, as nginx and others do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests import web

PREFIX = "/clip"


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # a browser asks for all pictures of a page at once


@contextmanager
def proxied(target: str) -> Iterator[str]:
    """The address of the service at `target` behind a proxy, which removes the prefix."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if not self.path.startswith(f"{PREFIX}/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {"Content-Type": self.headers.get("Content-Type", "")}
            path = self.path.removeprefix(PREFIX)
            answer = web.request(self.command, target + path, content=body, headers=headers)
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in ("content-encoding", "content-length", "date", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            with suppress(ConnectionError):  # a browser that left the page wants it no more
                self.end_headers()
                self.wfile.write(answer.content)

        do_POST = do_GET  # noqa: N815

    server = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{PREFIX}"
    finally:
        server.shutdown()
        server.server_close()
