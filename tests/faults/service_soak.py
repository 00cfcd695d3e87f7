"""The service under mixed and hostile requests: `python -m tests.faults.service_soak`.

It prints each minute's answers, memory and open files, and ends with status 1 if the memory grows
by more than a MiB a minute once warm, if a file stays open, if a worker dies, or if an answer is
another error than those that the service documents. A test runs a short form of it.
"""

import argparse
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from random import Random
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import psycopg

from clip_assets.model import ModelSpec
from clip_assets.node import encoder
from tests import web
from tests.conftest import TINY
from tests.faults import hostile
from tests.faults.scratch import scratch
from tests.integration.serving.support import (
    PATIENT_ENVIRONMENT,
    Picture,
    drawn,
    publish,
    wait_until,
    wait_until_ready,
)
from tests.unit.serving.test_upload import deep_png

CLIENTS = 4
WORKERS = 2
POOL = 2
CONNECTIONS = WORKERS * 2 * (POOL + 1)
"""Files that the pools may open later than at the start: two in each worker, to read and write."""

EXPECTED = {200, 400, 404, 405, 408, 413, 415, 422, 431, 503}
MOST_MIB_A_MINUTE = 1.0
PICTURES = [drawn(number) for number in range(40)]


class Requests:
    """Sends every kind of request, valid and hostile; `answers` counts the statuses."""

    def __init__(self, url: str, seed: int) -> None:
        self._url = url
        self._seed = seed
        self._files = [data for _, data in hostile.files()] + [deep_png(4_990)]
        self._turn = count()
        self.answers: Counter[int] = Counter()

    def send(self, until: Callable[[int], bool]) -> None:
        """Send requests from several clients until `until(number of the request)` is true."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            for client in [clients.submit(self._client, n, until) for n in range(CLIENTS)]:
                client.result()

    def _client(self, number: int, until: Callable[[int], bool]) -> None:
        chance = Random(self._seed + number)
        kinds = [
            self._text, self._text, self._picture, self._terms, self._pages, self._upload,
            self._hostile_upload, self._malformed, self._page, self._half_a_request, self._leaving,
        ]  # fmt: skip
        with httpx.Client(base_url=self._url, timeout=120) as client:
            while not until(next(self._turn)):
                chance.choice(kinds)(client, chance)

    def _post(self, client: httpx.Client, **asked: object) -> httpx.Response:
        answer = client.post("/v1/search", json=asked)
        self.answers[answer.status_code] += 1
        return answer

    def _text(self, client: httpx.Client, chance: Random) -> None:
        self._post(client, text=f"a cloud {chance.random()}", k=chance.choice((1, 24, 1_000)))

    def _picture(self, client: httpx.Client, chance: Random) -> None:
        picture = chance.choice(PICTURES)
        self._post(client, image_id=picture.image_id, collapse_similar=0.97)
        self.answers[client.get(f"/thumbnails/{picture.sha256}").status_code] += 1

    def _terms(self, client: httpx.Client, chance: Random) -> None:
        away = {"image_id": chance.choice(PICTURES).image_id, "weight": -chance.random() - 0.1}
        only = {"words": chance.choice(("gold", "black", "nothing"))}
        self._post(client, terms=[{"text": "sea"}, away], filter=only)

    def _pages(self, client: httpx.Client, chance: Random) -> None:
        query = {"text": chance.choice(("gold", "sea", "a cloud")), "k": 7}
        cursor = None
        while True:
            answer = self._post(client, **query, cursor=cursor)
            cursor = answer.json()["cursor"] if answer.status_code == 200 else None
            if cursor is None:
                return

    def _upload(self, client: httpx.Client, chance: Random) -> None:
        self._send_file(client, chance.choice(PICTURES).png)

    def _hostile_upload(self, client: httpx.Client, chance: Random) -> None:
        self._send_file(client, chance.choice(self._files))

    def _send_file(self, client: httpx.Client, data: bytes) -> None:
        sent = client.post("/v1/search/image", files={"file": ("a.png", data)})
        self.answers[sent.status_code] += 1

    def _malformed(self, client: httpx.Client, chance: Random) -> None:
        body = chance.choice((b"{", b"[]", b"\xff" * 1_000, b'{"text": 1}', b"x" * 2**17))
        self.answers[client.post("/v1/search", content=body).status_code] += 1
        path = chance.choice(("/v1/images/..%2f..%2fetc", "/static/%2e%2e/app.py", "/v1/none"))
        self.answers[client.get(path).status_code] += 1

    def _page(self, client: httpx.Client, chance: Random) -> None:
        path = chance.choice(("/", "/static/page.js", "/openapi.json", "/metrics", "/readyz"))
        self.answers[client.get(path).status_code] += 1

    def _half_a_request(self, _: httpx.Client, chance: Random) -> None:
        whole = b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"
        with self._connected() as raw:
            raw.sendall(whole[: chance.randrange(1, len(whole))])

    def _leaving(self, _: httpx.Client, chance: Random) -> None:
        """Close the connection instead of waiting for the answer."""
        with self._connected() as raw:
            path = f"/v1/search?q=leaving+{chance.random()}"
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        address = urlsplit(self._url)
        with (
            suppress(ConnectionError),
            socket.create_connection((str(address.hostname), address.port or 80), 120) as raw,
        ):
            yield raw


@dataclass(frozen=True)
class Use:
    """Private memory in MiB and open files of all processes of the service. A worker that dies is
    replaced, so `workers` has their ids."""

    minute: float
    memory: float
    files: int
    workers: frozenset[int]

    @classmethod
    def now(cls, process: psutil.Process, started: float) -> "Use":
        workers = process.children()
        every = [process, *workers]
        memory = sum(one.memory_full_info().uss for one in every) / 2**20
        files = sum(one.num_fds() for one in every)
        ids = frozenset(worker.pid for worker in workers)
        return cls((time.monotonic() - started) / 60, memory, files, ids)


@contextmanager
def serving(python: str, dsn: str) -> Iterator[tuple[str, psutil.Process]]:
    """A service with several workers and forty pictures: its address and its first process."""
    spec = ModelSpec(name=TINY, untrained_seed=0)
    model = encoder.load(spec, "cpu")
    pictures: list[Picture] = PICTURES
    with psycopg.connect(dsn, autocommit=True) as connection:
        vectors = model.encode_images([picture.image for picture in pictures])
        publish(connection, spec, model.identity, pictures, vectors)
    environment = {
        **os.environ, **PATIENT_ENVIRONMENT,
        "CLIP_ASSETS_SERVING_DSN": dsn, "CLIP_ASSETS_SERVING_POOL_SIZE": str(POOL),
    }  # fmt: skip
    command = [python, "-m", "serving", "--port", "0", "--workers", str(WORKERS)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout
        url = process.stdout.readline().split()[-1]
        wait_until_ready(url)
        first = psutil.Process(process.pid)
        # Those that waited for the model end once others have it.
        wait_until(lambda: f"\nclip_assets_workers {WORKERS}" in _metrics(url), url)
        wait_until(lambda: len(first.children()) == WORKERS, url)
        yield url, first
    finally:
        process.kill()
        process.wait()


def _metrics(url: str) -> str:
    return web.get(f"{url}/metrics").text


def wait_until_closed(url: str, process: psutil.Process, before: Use) -> None:
    """Wait until no more files are open than before, apart from the pools' connections."""
    most = before.files + CONNECTIONS
    wait_until(lambda: Use.now(process, 0).files <= most, url)


def growth(uses: list[Use]) -> float:
    """Growth in MiB a minute over the last two thirds; caches and pools fill during the first."""
    warm = uses[len(uses) // 3 :]
    return float(np.polyfit([use.minute for use in warm], [use.memory for use in warm], 1)[0])


def soak(python: str, dsn: str, minutes: float) -> int:
    """Run the soak; returns the exit status."""
    with serving(python, dsn) as (url, process), ThreadPoolExecutor(1) as background:
        requests = Requests(url, seed=0)
        requests.send(lambda number: number > 100)
        started = time.monotonic()
        uses = [Use.now(process, started)]
        until = started + 60 * minutes
        sending = background.submit(requests.send, lambda _: time.monotonic() > until)
        while not sending.done():
            wait([sending], 60)
            uses.append(Use.now(process, started))
            print(uses[-1], dict(requests.answers), f"load {os.getloadavg()[0]:.1f}", flush=True)
        sending.result()
        wait_until_closed(url, process, uses[0])
        slope = growth(uses)
        last = Use.now(process, started)
        print(f"{slope:.3f} MiB a minute; {last.files} files, {uses[0].files} at the start")
        unexpected = requests.answers.keys() - EXPECTED
        died = last.workers != uses[0].workers
        return int(slope > MOST_MIB_A_MINUTE or bool(unexpected) or died)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    options = parser.parse_args()
    with scratch() as (_, dsn):
        return soak(sys.executable, dsn, options.minutes)


if __name__ == "__main__":
    sys.exit(main())
