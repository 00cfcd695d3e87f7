"""Clients that send too slowly, or less than they announced."""

import json
import socket
import time

from tests.integration.serving.support import running, settings

NOWHERE = "postgresql://127.0.0.1:1/none"
HEAD = (
    b"POST /v1/search HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
)


def test_an_incomplete_body_gets_408() -> None:
    """A client that sends less than its Content-Length gets 408 after the timeout."""
    with running(settings(NOWHERE, body_seconds=0.4)) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=120) as client:
            started = time.monotonic()
            client.sendall(HEAD + b'{"text"')
            received = b"".join(iter(lambda: client.recv(65536), b""))
        assert time.monotonic() - started > 0.3
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert json.loads(body)["error"]["code"] == "body_timeout"
