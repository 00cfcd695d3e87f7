"""Workers under load: one is killed, the model changes, the service ends; nobody else notices."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import psutil
import psycopg

from clip_assets.model import ModelSpec
from clip_assets.node import encoder
from tests import web
from tests.integration.serving.support import (
    PATIENT_ENVIRONMENT,
    drawn,
    publish,
    wait_until,
    wait_until_ready,
)

LARGE = ModelSpec(name="ViT-B-32", untrained_seed=0)
WEIGHTS = 605e6  # of its parameters, as float32
WORKERS = 3
AT_ONCE = 6


class Asking:
    """Clients that send requests one after another on kept connections until nothing listens."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.answered = 0
        self.failed: list[Exception | int] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(AT_ONCE)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        reset: list[Exception | int] = []
        with httpx.Client(timeout=120) as client:
            while True:
                try:
                    asked = client.post(f"{self._url}/v1/search", json={"text": "a cloud", "k": 1})
                except httpx.ConnectError:
                    # A connection that came as the port closed was reset instead of refused.
                    self.failed = [one for one in self.failed if one not in reset]
                    return
                except httpx.TransportError as error:
                    reset = [error]
                    self.failed += reset
                else:
                    reset = []
                    self.answered += 1
                    if asked.status_code != 200:
                        self.failed.append(asked.status_code)

    def goes_on(self) -> None:
        """Wait for as many further answers as requests can have been in progress."""
        before = self.answered
        wait_until(lambda: self.answered > before + 2 * AT_ONCE, self._url)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(120)


def _publish(address: str, spec: ModelSpec) -> str:
    model = encoder.load(spec, "cpu")
    pictures = [drawn(number) for number in range(4)]
    vectors = model.encode_images([picture.image for picture in pictures])
    with psycopg.connect(address, autocommit=True) as connection:
        publish(connection, spec, model.identity, pictures, vectors)
    return model.identity.short


@contextmanager
def _serving(python: str, address: str) -> "Iterator[tuple[subprocess.Popen[str], str]]":
    environment = {**os.environ, **PATIENT_ENVIRONMENT, "CLIP_ASSETS_SERVING_DSN": address}
    command = [python, "-m", "serving", "--port", "0", "--workers", str(WORKERS)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = process.stdout.readline().split()[-1]
        wait_until_ready(url)
        wait_until(lambda: len(_children(process)) == WORKERS, url)
        yield process, url
    finally:
        process.kill()
        process.wait()


def _children(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def test_load_does_not_notice_a_killed_worker_a_new_model_or_the_end(
    python: str, new_database: Callable[..., str], tiny_spec: ModelSpec
) -> None:
    """Killing a worker fails only the requests that it was answering; nothing else fails any."""
    database = new_database()
    _publish(database, tiny_spec)
    with _serving(python, database) as (process, url):
        asking = Asking(url)
        asking.goes_on()
        killed = _children(process)[0]
        killed.kill()
        wait_until(lambda: len({*_children(process)} - {killed}) == WORKERS, url)
        asking.goes_on()
        assert len(asking.failed) <= AT_ONCE
        assert all(isinstance(one, httpx.TransportError) for one in asking.failed)
        asking.failed.clear()

        before = {*_children(process)}
        other = tiny_spec.model_copy(update={"untrained_seed": 1})
        wait_until_ready(url, model=_publish(database, other))
        wait_until(lambda: not before & {*_children(process)}, url)
        asking.goes_on()
        assert not asking.failed

        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 128 + signal.SIGTERM
        asking.join()
        assert not asking.failed


def test_the_weights_are_in_memory_once(python: str, new_database: Callable[..., str]) -> None:
    """Each worker has less than 200 MB of its own. When the first process is killed, all of them
    end, or the port would stay taken."""
    database = new_database()
    _publish(database, LARGE)
    with _serving(python, database) as (process, url):
        search = {"text": "a cloud", "k": 1}
        assert {web.post(f"{url}/v1/search", json=search).status_code for _ in range(20)} == {200}
        workers = _children(process)
        for memory in [worker.memory_full_info() for worker in workers]:
            assert memory.rss > 0.9 * WEIGHTS
            assert memory.uss < 200e6
        process.kill()
        _, alive = psutil.wait_procs(workers, timeout=120)
        assert not alive
