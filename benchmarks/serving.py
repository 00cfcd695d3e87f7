"""The service at and beyond its capacity, with one and two workers.

    CLIP_ASSETS_HOME=/tmp/serving .venv/bin/python -m benchmarks.serving --rows 20000 --seconds 60

Each service answers searches for unlike texts, none of which is cached. Capacity is what it answers
per second with 16 requests always under way; then requests arrive at 0.8, 2 and 5 times that rate,
whether or not it keeps up (`benchmarks.open_loop`). `few texts` are 50, so most are cached. Client
and database share the machine. On a loaded one only ratios and processor time mean something.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil

from benchmarks import searchable
from clip_assets.postgres.connect import connect_owner
from clip_assets.settings import Settings

LOADS = (0.8, 2.0, 5.0)
READY_SECONDS = 900
COLUMNS = (
    "answered_per_s", "answers_p50_ms", "answers_p99_ms", "refused_per_s", "refusals_p99_ms",
    "failed", "livez_p99_ms", "client_cpu", "cpu_ms_per_answer",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--architecture", default="ViT-B-32")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    arguments = parser.parse_args()
    with connect_owner(Settings()) as connection:
        searchable.release(connection, arguments.architecture, arguments.rows)
        services = {
            f"{count} worker{'s' * (count > 1)}": ["clip_assets.serving", "--workers", str(count)]
            for count in arguments.workers
        }
        for name, command in services.items():
            with _running(command) as (process, port):
                _measure(name, process, port, arguments.seconds)


def _measure(name: str, process: psutil.Process, port: int, seconds: float) -> None:
    print(f"\n{name}: {_memory(process)}", flush=True)
    print(f"{'':<12}" + "".join(f"{column:>18}" for column in COLUMNS), flush=True)

    def ask(seconds: float, *how: str) -> dict[str, Any]:
        before = _processor_seconds(process)
        found = _ask(port, seconds, *how)
        answers = found["answered_per_s"] * seconds
        spent = _processor_seconds(process) - before
        return found | {"cpu_ms_per_answer": round(spent * 1000 / answers, 2) if answers else None}

    ask(seconds / 4, "--at-once", "16", "--seed", "9")  # the first requests are slower
    _print("few texts", ask(seconds / 4, "--at-once", "16", "--texts", "50"))
    capacity = ask(seconds / 2, "--at-once", "16")
    _print("capacity", capacity)
    for seed, load in enumerate(LOADS, 1):
        rate = load * capacity["answered_per_s"]
        _print(f"{load} x", ask(seconds, "--rate", str(rate), "--seed", str(seed)))


def _ask(port: int, seconds: float, *how: str) -> dict[str, Any]:
    command = [
        sys.executable, "-m", "benchmarks.open_loop", "--port", str(port),
        "--seconds", str(seconds), *how,
    ]  # fmt: skip
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(found))


def _processor_seconds(process: psutil.Process) -> float:
    spent = [one.cpu_times() for one in (process, *process.children())]
    return sum(one.user + one.system for one in spent)


def _print(name: str, found: dict[str, Any]) -> None:
    values = (found[column] for column in COLUMNS)
    print(f"{name:<12}" + "".join(f"{'-' if one is None else one!s:>18}" for one in values))
    if found["others"]:
        print(f"  other statuses: {found['others']}")
    sys.stdout.flush()


def _memory(process: psutil.Process) -> str:
    """Proportional share of all processes, so that what they share counts once."""
    each = [one.memory_full_info() for one in (process, *process.children())]
    total, own = sum(one.pss for one in each) / 2**20, max(one.uss for one in each[1:] or each)
    return f"{total:.0f} MiB, {own / 2**20:.0f} MiB of a worker's own"


@contextmanager
def _running(command: list[str]) -> Iterator[tuple[psutil.Process, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = [sys.executable, "-m", *command, "--port", str(port)]
    environment = {**os.environ, "CLIP_ASSETS_SERVING_COLLECTION": "bench"}
    with subprocess.Popen(
        program, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_until_it_answers(port)
            yield psutil.Process(process.pid), port
        finally:
            process.terminate()


def _wait_until_it_answers(port: int) -> None:
    until = time.monotonic() + READY_SECONDS
    while True:
        try:
            asked = httpx.post(f"http://127.0.0.1:{port}/v1/search", json={"text": "a cloud"})
            if asked.status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > until:
            raise TimeoutError("The service did not answer in time.")
        time.sleep(0.5)


if __name__ == "__main__":
    main()
