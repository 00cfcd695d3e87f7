"""Several workers on one port: one dies and is replaced, and all end without a failed request."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator

import httpx
import psutil
import psycopg
import pytest

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from tests import web
from tests.integration.serving.support import (
    PATIENT_ENVIRONMENT,
    drawn,
    publish,
    wait_until,
    wait_until_ready,
)


@pytest.fixture
def workers(
    python: str, database: str, tiny_spec: ModelSpec, tiny: Encoder
) -> Iterator["tuple[subprocess.Popen[str], str]"]:
    """A service with two workers that are ready, and its address."""
    pictures = [drawn(number) for number in range(4)]
    vectors = tiny.encode_images([picture.image for picture in pictures])
    with psycopg.connect(database, autocommit=True) as connection:
        publish(connection, tiny_spec, tiny.identity, pictures, vectors)
    environment = {
        **os.environ,
        **PATIENT_ENVIRONMENT,
        "CLIP_ASSETS_SERVING_DSN": database,
        "CLIP_ASSETS_SERVING_DRAIN_SECONDS": "3600",
    }
    command = [python, "-m", "serving", "--port", "0", "--workers", "2"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = process.stdout.readline().split()[-1]
        wait_until_ready(url)
        wait_until(lambda: len(_pids(process)) == 2, url)  # those without a model are gone
        yield process, url
    finally:
        process.kill()
        process.wait()


def _pids(process: "subprocess.Popen[str]") -> set[int]:
    return {child.pid for child in psutil.Process(process.pid).children()}


def _metric(url: str, pattern: str) -> float:
    found = re.findall(rf"^clip_assets_{pattern}\S* (\S+)$", web.get(f"{url}/metrics").text, re.M)
    return sum(map(float, found))


def _search(url: str) -> int:
    return web.post(f"{url}/v1/search", json={"text": "a cloud", "k": 1}).status_code


def test_a_worker_that_dies_is_replaced_and_the_service_drains(
    workers: "tuple[subprocess.Popen[str], str]",
) -> None:
    """What the dead one counted stays counted. After SIGTERM a client that keeps asking is
    answered, each time on another connection; a second signal ends that."""
    process, url = workers
    before = _pids(process)
    assert {_search(url) for _ in range(20)} == {200}
    # A request is counted after its answer was sent.
    wait_until(lambda: _metric(url, "requests_total.*/v1/search") == 20, url)
    os.kill(min(before), signal.SIGKILL)
    wait_until(lambda: len(_pids(process) - before) == 1, url)
    assert {_search(url) for _ in range(20)} == {200}
    wait_until(lambda: _metric(url, "workers") == 2, url)
    wait_until(lambda: _metric(url, "requests_total.*/v1/search") == 40, url)

    with httpx.Client(base_url=url, timeout=120) as client:
        answers = [client.get("/v1/release") for _ in range(2)]
        process.terminate()
        while sum("connection" in answer.headers for answer in answers) < 10:
            answers.append(client.get("/v1/release"))
    assert {answer.status_code for answer in answers} == {200}
    process.terminate()
    assert process.wait(120) == 128 + signal.SIGTERM
