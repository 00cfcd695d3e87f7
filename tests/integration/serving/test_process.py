"""The service as a process: the address it prints, its log, its shutdown."""

import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests import web
from tests.integration.serving.support import wait_until_unready

ENVIRONMENT = {
    **os.environ,
    "CLIP_ASSETS_SERVING_DSN": "postgresql://127.0.0.1:1/none",
    "CLIP_ASSETS_SERVING_DRAIN_SECONDS": "1",
}
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def command(python: str) -> list[str]:
    return [python, "-m", "serving", "--port", "0"]


@pytest.fixture
def start(command: list[str], tmp_path: Path) -> Iterator[Start]:
    """Starts the service with more in its environment; what it logs goes to a file."""
    with (tmp_path / "log").open("w") as log, ExitStack() as started:

        def start_one(**more: str) -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                command, env=ENVIRONMENT | more, stdout=subprocess.PIPE, stderr=log, text=True
            )
            started.callback(process.kill)
            return process

        yield start_one


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    line = process.stdout.readline()
    assert line.startswith("Search page: http://127.0.0.1:")
    return line.split()[-1]


def test_it_prints_its_address_and_logs_each_request(start: Start, tmp_path: Path) -> None:
    """The first line is the address; each request is a line of JSON without its query."""
    process = start()
    address = _address(process)
    assert web.get(f"{address}/?q=private").status_code == 200
    process.terminate()
    process.wait(120)
    log = (tmp_path / "log").read_text()
    (line,) = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/", 200)
    assert "private" not in log


def test_a_terminated_service_is_unready_before_it_exits(start: Start) -> None:
    """After SIGTERM it keeps answering, unready, for the drain time; a second signal ends that."""
    process = start(CLIP_ASSETS_SERVING_DRAIN_SECONDS="3600")
    address = _address(process)
    process.send_signal(signal.SIGTERM)
    wait_until_unready(address, "the service is shutting down")
    assert web.get(f"{address}/livez").status_code == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 128 + signal.SIGTERM


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_terminal_that_is_closed_ends_the_service_like_sigterm(
    start: Start, workers: str
) -> None:
    """SIGHUP by default ends a process at once, under its requests."""
    process = start(CLIP_ASSETS_SERVING_DRAIN_SECONDS="3600", CLIP_ASSETS_SERVING_WORKERS=workers)
    address = _address(process)
    wait_until_unready(address, "the database")
    process.send_signal(signal.SIGHUP)
    wait_until_unready(address, "the service is shutting down")
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 128 + signal.SIGTERM


def test_a_low_limit_on_open_files_is_raised_as_far_as_allowed(start: Start) -> None:
    """At 256, as on macOS, there would be room for a single connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        process = start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    _address(process)
    limit, _ = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    assert limit >= 1_000


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_request_fails_while_the_service_ends(start: Start, workers: str) -> None:
    """Clients open a connection for each request and do not try again, as proxies do with a POST.
    Until they are refused a connection, each request that could be sent is answered."""
    process = start(CLIP_ASSETS_SERVING_WORKERS=workers)
    url = httpx.URL(_address(process))
    answered: Counter[str] = Counter()

    def ask_until_refused() -> None:
        while True:
            try:
                client = socket.create_connection((url.host, url.port or 0))
            except ConnectionRefusedError:
                return
            with client:
                try:
                    client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    answered[client.recv(12).decode()] += 1
                except ConnectionError as error:
                    answered[str(error)] += 1

    with ThreadPoolExecutor(16) as clients:
        asking = [clients.submit(ask_until_refused) for _ in range(16)]
        while sum(answered.values()) < 200:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        for one in asking:
            one.result(120)
    assert answered.keys() == {"HTTP/1.1 200"}, answered
    assert process.wait(120) == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_fresh_installation_starts_its_own_postgres(
    command: list[str], open_folder: Callable[[], Path], number: signal.Signals
) -> None:
    """Without settings the embedded server starts, and the service says what is missing. The server
    stops with the service, whatever ends that."""
    home = open_folder()
    environment = {**os.environ, "CLIP_ASSETS_HOME": str(home)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        wait_until_unready(_address(process), "Materialize `release`")
        process.send_signal(number)
        process.wait(120)
    finally:
        process.kill()
    until = time.monotonic() + 300
    while (home / "postgres/postmaster.pid").exists():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_it_serves_the_collection_it_is_given(
    command: list[str], new_database: Callable[..., str]
) -> None:
    """`--collection` names what to serve; while it has no release, readiness names it."""
    environment = ENVIRONMENT | {"CLIP_ASSETS_SERVING_DSN": new_database()}
    process = subprocess.Popen(
        [*command, "--collection", "photos"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        wait_until_unready(_address(process), "Nothing is released yet for photos")
    finally:
        process.kill()


def test_a_busy_port_is_one_sentence(command: list[str]) -> None:
    """The process exits with 1 and says what to do, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command[-1] = str(taken.getsockname()[1])
        ended = subprocess.run(
            command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300
        )
    assert ended.returncode == 1
    assert "in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_invalid_setting_is_one_sentence(command: list[str]) -> None:
    """The process exits with 1 and names the setting, without a traceback."""
    environment = ENVIRONMENT | {
        "CLIP_ASSETS_SERVING_PATH_PREFIX": "clip",
        "CLIP_ASSETS_SERVING_CONNECTIONS": "many",
    }
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 1
    assert "CLIP_ASSETS_SERVING_PATH_PREFIX: " in ended.stderr
    assert "CLIP_ASSETS_SERVING_CONNECTIONS: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_help_teaches_by_example(python: str) -> None:
    """`--help` shows commands to copy."""
    command = [python, "-m", "serving", "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert "python -m clip_assets.serving --port 9000" in ended.stdout
