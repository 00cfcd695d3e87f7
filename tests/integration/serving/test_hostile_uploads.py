"""Uploads that cost the service more than they cost their clients."""

import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from tests.integration.serving.support import (
    PATIENT_ENVIRONMENT,
    drawn,
    publish,
    wait_until_ready,
)
from tests.unit.serving.test_upload import deep_png

CLIENTS = 4
TEXTS = 60
MORE_MEMORY = 64 * 2**20
"""What uploads may take of memory besides their files, as docs/serving.md says."""


@pytest.fixture
def service(
    python: str, new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> "Iterator[tuple[str, psutil.Process]]":
    """A service as a process of its own, and its address."""
    pictures = [drawn(number) for number in range(4)]
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        vectors = tiny.encode_images([picture.image for picture in pictures])
        publish(connection, tiny_spec, tiny.identity, pictures, vectors)
    environment = {**os.environ, **PATIENT_ENVIRONMENT, "CLIP_ASSETS_SERVING_DSN": dsn}
    command = [python, "-m", "serving", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = process.stdout.readline().split()[-1]
        wait_until_ready(url)
        yield url, psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


@contextmanager
def _uploading(url: str, files: list[bytes]) -> Iterator[set[tuple[int, str]]]:
    """Clients that send these files as fast as they are answered; what they were answered."""
    answers: set[tuple[int, str]] = set()
    stop = threading.Event()

    def send(file: bytes) -> None:
        with httpx.Client(timeout=120) as client:
            while not stop.is_set():
                sent = client.post(f"{url}/v1/search/image", files={"file": ("a.png", file)})
                answers.add((sent.status_code, sent.json().get("code", "")))

    with ThreadPoolExecutor(len(files)) as clients:
        sending = [clients.submit(send, file) for file in files]
        try:
            yield answers
        finally:
            stop.set()
        for one in sending:
            one.result()


def _texts(url: str) -> list[int]:
    """Statuses of new texts, which no cache knows."""
    with httpx.Client(timeout=120) as client:
        searches = [{"text": f"a cloud {random.random()}", "k": 1} for _ in range(TEXTS)]
        return [client.post(f"{url}/v1/search", json=one).status_code for one in searches]


def _most_memory(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def test_bombs_starve_no_text_and_take_no_memory(
    service: tuple[str, psutil.Process], record_property: Callable[[str, object], None]
) -> None:
    """A PNG of 25 million deep pixels in 200 kB: refused by its header."""
    url, process = service
    bomb = deep_png(4_990)
    assert len(bomb) < 200_000
    assert set(_texts(url)) == {200}
    before = process.memory_info().rss
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the most memory so far is forgotten
    with _uploading(url, [bomb] * CLIENTS) as answers:
        assert set(_texts(url)) == {200}
    more = _most_memory(process) - before
    assert answers == {(422, "unusable_image")}
    record_property("figure", f"{more / 1e6:.0f} MB more memory")
    assert more < MORE_MEMORY


def test_the_largest_uploads_starve_no_text(service: tuple[str, psutil.Process]) -> None:
    """As many deep pixels as are decoded: they are answered or refused in their own threads."""
    url, _ = service
    with _uploading(url, [deep_png(2_000)] * CLIENTS) as answers:
        assert set(_texts(url)) == {200}
    assert (200, "") in answers
    assert answers <= {(200, ""), (503, "busy"), (503, "deadline_exceeded")}
