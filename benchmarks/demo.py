"""How long the demo takes from nothing to an answered search, and what it costs while running.

    make bench                       # in this checkout, with its environment
    make bench ARGS=--fresh          # also in a fresh clone with a new environment (minutes)

Prints each figure with its target, and with a peer or lower limit measured in the same run.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from clip_assets.node import encoder as encoders
from clip_assets.postgres.connect import connect_owner
from clip_assets.search import search
from clip_assets.settings import Settings

PROJECT = Path(__file__).parents[1]
QUERIES = [f"a photo of {a} {b}" for a in ("one", "two", "a red", "a small") for b in (
    "cat", "dog", "heart", "house", "flag", "car", "tree", "cake", "face", "rocket", "fish",
    "bird", "sun", "cloud", "boat", "train", "book", "ball", "star", "flower", "clock", "hand",
    "moon", "apple", "pizza",
)]  # fmt: skip

_client = httpx.Client(
    timeout=60
)  # one client for all, because creating one costs more than a request


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="also measure a fresh clone")
    if parser.parse_args().fresh:
        fresh_clone()
    second_start()
    running_demo()


def fresh_clone() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
        seconds, printed = timed(["make", "demo", "ARGS=--exit"], clone)
        ours = float(re.findall(r"Up after (\d+) s", printed)[-1])
        say("from nothing to an answered search", seconds, 360, "s")
        say("of which after the installation", ours, 60, "s")
        print(f"    the installation alone took {seconds - ours:.0f} s")


def second_start() -> None:
    subprocess.run(["make", "demo", "ARGS=--exit"], cwd=PROJECT, check=True, capture_output=True)
    seconds, _ = timed(["make", "demo", "ARGS=--exit"], PROJECT)
    floor, _ = timed([sys.executable, "-c", "import torch, open_clip, dagster"], PROJECT)
    say("a second `make demo`, start to end", seconds, 25, "s")
    print(
        f"    {seconds / floor:.1f} times as long as importing torch, open_clip and dagster "
        f"({floor:.1f} s)"
    )


def running_demo() -> None:
    command = [sys.executable, "-m", "clip_assets.cli.app", "demo"]
    demo = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        page = address(demo)
        served = [asked(page, text) for text in QUERIES]
        direct = in_process(QUERIES)
        time.sleep(10)
        memory = sum(process.memory_full_info().pss for process in family(demo.pid))
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(60)
    say("a text query over HTTP, median", statistics.median(served), 60, "ms")
    print(
        f"    {statistics.median(served) / statistics.median(direct):.1f} times as long as to "
        f"encode and search in one process ({statistics.median(direct):.1f} ms)"
    )
    say("memory of all processes when idle", memory / 2**30, 3, "GiB")


def address(demo: "subprocess.Popen[str]") -> str:
    assert demo.stdout is not None, "stdout is a pipe"
    for line in demo.stdout:
        if "Search page" in line:
            return re.findall(r"http://[\d.]+:\d+", line)[0]
    raise SystemExit("the demo did not start")


def asked(page: str, text: str) -> float:
    """Milliseconds from request to response; the service has not seen the text before."""
    started = time.perf_counter()
    _client.post(f"{page}/v1/search", json={"text": text, "k": 24}).raise_for_status()
    return (time.perf_counter() - started) * 1_000


def in_process(texts: list[str]) -> list[float]:
    settings = Settings()
    times = []
    with connect_owner(settings) as connection:
        release = search.live(connection)
        encoder = encoders.load(release.spec)
        for text in texts:
            started = time.perf_counter()
            search.search(connection, release, encoder.encode_text([text])[0], 24)
            times.append((time.perf_counter() - started) * 1_000)
    return times


def family(pid: int) -> list[psutil.Process]:
    """The demo, its children, and the Postgres that serves them."""
    demo = psutil.Process(pid)
    folder = str(Settings().postgres_folder)
    servers = [p for p in psutil.process_iter(["cmdline"]) if folder in (p.info["cmdline"] or [])]
    members = [demo, *demo.children(recursive=True), *servers]
    members += [child for server in servers for child in server.children()]
    return list({process.pid: process for process in members}.values())


def timed(command: list[str], folder: Path) -> tuple[float, str]:
    started = time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - started, done.stdout


def say(what: str, value: float, aim: float, unit: str) -> None:
    print(f"{what:<40}{value:8.1f} {unit:<4} target {aim:g}, ratio {value / aim:.2f}", flush=True)


if __name__ == "__main__":
    main()
