"""The service at and beyond its capacity, with one and two workers, and two others beside it.

    CLIP_ASSETS_HOME=/tmp/serving .venv/bin/python -m benchmarks.serving --rows 1000000 --seconds 60

Each service answers searches for different texts, none of which is cached. They first come one at
a time, so that nothing waits: `p50_of_alone` is the time of an answer divided by that of encoding
and database alone; the aim is at most 1.3. Capacity is the answers per second with 16 requests
always in progress; then requests arrive at 0.8, 2 and 5 times that rate, whether or not it keeps up
(`benchmarks.open_loop`). `few texts` are 50, so most are cached. Client and database share the
machine. On a loaded one only ratios and processor time mean something.

The others are `benchmarks.peers`, with the same rows, weights and load; `--peers 0` leaves them
out. Everything stays in CLIP_ASSETS_HOME: a second run with as many rows builds nothing. A million
rows take about 15 minutes on two quiet cores, and as long again for each peer.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import psycopg
import torch

from benchmarks import peers, searchable
from benchmarks.made_up import COLLECTION
from benchmarks.peers import Service
from clip_assets.model import ModelSpec
from clip_assets.node import encoder
from clip_assets.postgres.connect import connect_owner
from clip_assets.search import search
from clip_assets.settings import Settings

LOADS = (0.8, 2.0, 5.0)
READY_SECONDS = 900
ALONE = 60
HITS = 25  # a page of 24, and one more that tells whether another page follows
NAME = 15  # characters
COLUMNS = (
    "answered_per_s", "of_capacity", "p50_ms", "p50_of_alone", "p99_ms", "p99_of_0.8x",
    "refused_per_s", "refused_p99_ms", "failed", "health_p99_ms", "client_cpu", "cpu_ms_each",
)  # fmt: skip


class NoAnswerError(Exception):
    """A service did not answer within READY_SECONDS."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--architecture", default="ViT-B-32")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--peers", type=int, choices=[0, 1], default=1)
    arguments = parser.parse_args()
    settings = Settings()
    with connect_owner(settings) as connection:
        searchable.release(connection, arguments.architecture, arguments.rows)
        alone = _alone(connection, arguments.architecture)
        services = [
            Service(
                f"{count} worker{'s' * (count > 1)}",
                [sys.executable, "-m", "clip_assets.serving", "--workers", str(count), "--port"],
            )
            for count in arguments.workers
        ]
        if arguments.peers:
            folder = settings.workplace / "peers"
            services += peers.ready(folder, arguments.architecture, arguments.rows)
        capacities = {}
        for service in services:
            try:
                capacities[service.name] = _measure(service, alone, arguments.seconds)
            except NoAnswerError as error:
                print(f"\n{service.name}: not measured, because {error}")
    first, *others = capacities.items()
    for name, capacity in others:
        print(f"capacity of {first[0]} ÷ {name}: {first[1] / capacity:.2f}")


def _alone(connection: psycopg.Connection, architecture: str) -> float:
    """Milliseconds of a search that has the machine to itself: encoding plus database, each the
    median of so many."""
    torch.set_num_threads(1)
    model = encoder.load(ModelSpec(name=architecture, untrained_seed=0), "cpu")
    (release,) = search.all_live(connection, COLLECTION)
    texts = [f"a photo of place {number} in a town" for number in range(ALONE)]
    vectors = [model.encode_text([text])[0] for text in texts]
    encoding = _median_ms(lambda number: model.encode_text([texts[number]]))
    asking = _median_ms(lambda number: search.search(connection, release, vectors[number], HITS))
    print(
        f"alone: encoding {encoding:.1f} ms, database {asking:.1f} ms at ef_search "
        f"{release.ef_search}, {release.rows:,} rows"
    )
    return encoding + asking


def _median_ms(call: Callable[[int], object]) -> float:
    times = []
    for number in range(ALONE):
        started = time.perf_counter()
        call(number)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def _measure(service: Service, alone: float, seconds: float) -> float:
    """Print what the service does at each load; returns its capacity in answers per second."""
    with _running(service) as (process, port):
        print(f"\n{service.name}: {_memory(process)}", flush=True)
        print(f"{'':<{NAME}}" + "".join(f"{column:>16}" for column in COLUMNS), flush=True)

        def ask(seconds: float, *how: str) -> dict[str, Any]:
            before = _processor_seconds(process)
            found = _ask(service, port, seconds, *how)
            answers = found["answered_per_s"] * seconds
            spent = _processor_seconds(process) - before
            return found | {
                "cpu_ms_each": round(spent * 1000 / answers, 2) if answers else None,
                "p50_of_alone": _ratio(found["p50_ms"], alone),
            }

        ask(seconds / 4, "--at-once", "16", "--seed", "9")  # the first requests are slower
        _print("one at a time", ask(seconds / 4, "--at-once", "1", "--seed", "8"))
        _print("few texts", ask(seconds / 4, "--at-once", "16", "--texts", "50"))
        full = ask(seconds / 2, "--at-once", "16")
        _print("capacity", full)
        capacity: float = full["answered_per_s"]
        usual = None
        for seed, load in enumerate(LOADS, 1):
            rate = load * capacity
            found = ask(seconds, "--rate", str(rate), "--seed", str(seed))
            usual = usual or found["p99_ms"]
            found["of_capacity"] = _ratio(found["answered_per_s"], capacity)
            found["p99_of_0.8x"] = _ratio(found["p99_ms"], usual)
            _print(f"{load} x", found)
        print(f"after it: {_memory(process)}")
        return capacity


def _ratio(value: float | None, of: float | None) -> float | None:
    return round(value / of, 2) if value is not None and of else None


def _ask(service: Service, port: int, seconds: float, *how: str) -> dict[str, Any]:
    command = [
        sys.executable, "-m", "benchmarks.open_loop", "--port", str(port),
        "--seconds", str(seconds), "--path", service.path, "--key", service.key,
        "--also", json.dumps(service.also), "--health", service.probe, *how,
    ]  # fmt: skip
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(found))


def _processor_seconds(process: psutil.Process) -> float:
    spent = [one.cpu_times() for one in (process, *process.children())]
    return sum(one.user + one.system for one in spent)


def _print(name: str, found: dict[str, Any]) -> None:
    values = (found.get(column) for column in COLUMNS)
    print(f"{name:<{NAME}}" + "".join(f"{'-' if one is None else one!s:>16}" for one in values))
    if found["others"]:
        print(f"  other statuses: {found['others']}")
    sys.stdout.flush()


def _memory(process: psutil.Process) -> str:
    """The proportional share of all processes together, so that what they share counts once, and
    what each has of its own."""
    each = [one.memory_full_info() for one in (process, *process.children())]
    own = ", ".join(f"{one.uss / 2**20:.0f}" for one in each)
    return f"{sum(one.pss for one in each) / 2**20:.0f} MiB, of its own each process {own} MiB"


@contextmanager
def _running(service: Service) -> Iterator[tuple[psutil.Process, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "CLIP_ASSETS_SERVING_COLLECTION": COLLECTION}
    with subprocess.Popen(
        [*service.command, str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait_until_it_answers(service, process, port)
            yield psutil.Process(process.pid), port
        finally:
            process.terminate()


def _wait_until_it_answers(service: Service, process: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.monotonic() + READY_SECONDS
    body = {service.key: "a cloud", **service.also}
    while process.poll() is None and time.monotonic() < until:
        try:
            asked = httpx.post(f"http://127.0.0.1:{port}{service.path}", json=body, timeout=60)
            if asked.status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise NoAnswerError(f"it did not answer; it was started by {' '.join(service.command)} {port}")


if __name__ == "__main__":
    main()
