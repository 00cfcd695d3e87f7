"""Clients that send nothing, too slowly, too much, or less than they announced."""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from serving.connections import HEAD_BYTES
from serving.middleware.headers import HEADERS
from tests import web
from tests.integration.serving.support import running, settings, wait_until

NOWHERE = "postgresql://127.0.0.1:1/none"
LIMIT = 20
HEAD = (
    b"POST /v1/search HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
)
ALIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def impatient() -> Iterator[str]:
    """The address of a service that waits less than half a second for a client."""
    short = settings(
        NOWHERE, head_seconds=0.4, body_seconds=0.4, read_seconds=0.4, connections=LIMIT
    )
    with running(short) as url:
        yield url


@pytest.fixture(scope="module")
def patient() -> Iterator[str]:
    """The address of a service that waits for a client longer than any test."""
    with running(settings(NOWHERE, head_seconds=3600, connections=LIMIT)) as url:
        yield url


def _connected(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=120)


def _received(client: socket.socket) -> bytes:
    """All that the service sends until it closes the connection.

    That is a reset, after the answer, if the client sent something more.
    """
    received = b""
    with suppress(ConnectionError):
        while data := client.recv(65536):
            received += data
    return received


def _answer(url: str, talk: Callable[[socket.socket], bytes]) -> bytes:
    """What `talk` receives on a connection.

    It is repeated while that is nothing: on a busy machine, the time of a connection may end before
    its first byte is sent, and then it just closes.
    """
    for _ in range(20):
        with _connected(url) as client:
            if received := talk(client):
                return received
    pytest.fail("twenty connections were closed without an answer")


def _drip(client: socket.socket, stop: threading.Event) -> None:
    with suppress(OSError):  # the service has closed the connection
        while not stop.wait(0.05):
            client.sendall(b"X-More: 1\r\n")


def _refusal(received: bytes) -> tuple[int, str]:
    head, _, body = received.partition(b"\r\n\r\n")
    assert all(f"{name}: {value}" in head.decode() for name, value in HEADERS.items())
    return int(head.split()[1]), json.loads(body)["code"]


def test_an_incomplete_body_gets_408(impatient: str) -> None:
    """A client that sends less than its Content-Length gets 408 after the timeout."""
    started = 0.0

    def half_a_body(client: socket.socket) -> bytes:
        nonlocal started
        started = time.monotonic()
        client.sendall(HEAD + b'{"text"')
        return _received(client)

    received = _answer(impatient, half_a_body)
    assert time.monotonic() - started > 0.3
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert json.loads(body)["code"] == "body_timeout"


def test_a_client_that_sends_nothing_is_disconnected(impatient: str) -> None:
    """There is nothing to answer, so the connection just closes."""
    with _connected(impatient) as client:
        assert _received(client) == b""


@pytest.mark.parametrize("before", [b"", ALIVE])
def test_half_a_header_gets_408(impatient: str, before: bytes) -> None:
    """The time is that of the whole header: sending it line by line does not extend it. This also
    holds for a later request of a connection."""

    def half_a_header(client: socket.socket) -> bytes:
        if before:
            client.sendall(before)
            if b"200 OK" not in client.recv(65536):
                return b""
        client.sendall(b"GET /livez HTTP/1.1\r\n")
        stop = threading.Event()
        sending = threading.Thread(target=_drip, args=(client, stop))
        sending.start()
        received = _received(client)
        stop.set()
        sending.join()
        return received

    received = _answer(impatient, half_a_header)
    assert _refusal(received) == (408, "header_timeout")


def test_an_endless_header_gets_431(patient: str) -> None:
    """The service stops reading soon after the limit instead of keeping what arrives."""
    with _connected(patient) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nX-Long: ")
        sent = 0
        try:
            while sent < 100 * 2**20:
                sent += client.send(b"x" * HEAD_BYTES)
        except ConnectionError:
            pass
    assert sent < 100 * 2**20


def test_a_header_over_the_limit_says_so(patient: str) -> None:
    """The response has the shape and the headers of every other error."""
    with _connected(patient) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nX-Long: " + b"x" * HEAD_BYTES)
        assert _refusal(_received(client)) == (431, "header_too_large")


def test_what_is_not_http_gets_400(patient: str, caplog: pytest.LogCaptureFixture) -> None:
    """The response has the shape and the headers of every other error, and a line in the log."""
    with caplog.at_level(logging.INFO, "serving.access"), _connected(patient) as client:
        client.sendall(b"nonsense\r\n\r\n")
        assert _refusal(_received(client)) == (400, "bad_request")
    assert any('"status": 400, "code": "bad_request"' in line for line in caplog.messages)


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /v1/search HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/search HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    ],
)
def test_a_body_that_is_not_http_gets_400(patient: str, request_: bytes) -> None:
    """Also after a request's header was understood, in one piece or in two."""
    for first in (len(request_), request_.index(b"\r\n\r\n") + 4):
        with _connected(patient) as client:
            client.sendall(request_[:first])
            if rest := request_[first:]:
                time.sleep(0.1)
                client.sendall(rest)
            assert _refusal(_received(client)) == (400, "bad_request")


def test_a_client_that_leaves_within_its_body_is_no_error_of_the_service(
    patient: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted as gone; the log shows no traceback."""
    with caplog.at_level(logging.INFO, "serving.access"):
        with _connected(patient) as client:
            client.sendall(HEAD + b"{")
        wait_until(lambda: '"status": 499' in caplog.text, patient)
    assert "Traceback" not in caplog.text


def test_a_client_that_does_not_read_is_disconnected(
    impatient: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It asks for more than the kernel buffers; its answers would wait for it forever."""
    with caplog.at_level(logging.INFO, "serving.connections"), _connected(impatient) as client:
        client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000)
        wait_until(lambda: any("did not read" in line for line in caplog.messages), impatient)
        assert _received(client).count(b"HTTP/1.1 200") < 1_000
    assert not [record for record in caplog.records if record.exc_info]


def test_silent_clients_do_not_shut_others_out(
    patient: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond the limit, a new connection replaces the one that has been silent longest, be it in
    its header or in its body; those that were answered last stay."""
    silent = [_connected(patient) for _ in range(LIMIT)]
    for client in silent[::2]:
        client.sendall(HEAD)
    clients = [_connected(patient) for _ in range(LIMIT)]
    for client in clients:
        client.sendall(ALIVE)
        assert b"200 OK" in client.recv(65536)
    assert web.get(f"{patient}/livez").status_code == 200
    assert all(_received(client) == b"" for client in silent)
    assert sum("which is the limit" in message for message in caplog.messages) == 1
    clients[-1].sendall(ALIVE)
    assert b"200 OK" in clients[-1].recv(65536)
    for client in [*silent, *clients]:
        client.close()
