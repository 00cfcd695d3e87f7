"""An HTTP client that sends requests at a given rate, whether or not those before are answered.

    python -m benchmarks.open_loop --port 8000 --rate 200 --seconds 60

Times are from when a request was due, so waiting for a connection counts. It is a process of its
own and parses with httptools, so that it takes little from the service on the same machine. With
`--at-once` instead of `--rate`, so many requests are always under way: the answers per second are
then the capacity. Prints JSON.
"""

import argparse
import asyncio
import json
import random
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httptools

GIVE_UP_SECONDS = 15.0
LIVEZ_EVERY = 0.1
FAILED = 0


class Connection(asyncio.Protocol):
    """One connection, which has one request under way at most."""

    def __init__(self, idle: "list[Connection]") -> None:
        self._idle = idle
        self._answer: asyncio.Future[int] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, request: bytes) -> "asyncio.Future[int]":
        assert self.transport
        self._parser = httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        assert self.transport
        if not self._parser.should_keep_alive():
            self.transport.close()
        elif not self.transport.is_closing():
            self._idle.append(self)
        self._settle(self._parser.get_status_code())

    def connection_lost(self, _: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        self._settle(FAILED)

    def _settle(self, status: int) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_result(status)


@dataclass
class Client:
    """Sends requests to one service and keeps their times in milliseconds by status."""

    port: int
    make: Callable[[], bytes]
    health: str
    times: dict[int, list[float]] = field(default_factory=dict)
    in_time: dict[int, int] = field(default_factory=dict)
    """Answers by status before no more requests were sent: those after it are not of its rate."""
    until: float = 0.0
    livez: list[float] = field(default_factory=list)
    idle: list[Connection] = field(default_factory=list)

    async def send(self, due: float) -> None:
        status = await self._status(self.make(), self.idle)
        now = time.perf_counter()
        self.times.setdefault(status, []).append((now - due) * 1000)
        if now < self.until:
            self.in_time[status] = self.in_time.get(status, 0) + 1

    async def probe(self) -> None:
        """Ask the path of the service's health, each time on a new connection, as a probe does."""
        request = f"GET {self.health} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        while True:
            due = time.perf_counter()
            status = await self._status(request, [])
            waited = time.perf_counter() - due
            self.livez.append((waited if status == 200 else GIVE_UP_SECONDS) * 1000)
            await asyncio.sleep(LIVEZ_EVERY)

    async def _status(self, request: bytes, idle: list[Connection]) -> int:
        connection: Connection | None = None
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                connection = idle.pop() if idle else await self._connect(idle)
                return await connection.ask(request)
        except (OSError, TimeoutError):
            if connection and connection.transport:
                connection.transport.abort()
            return FAILED

    async def _connect(self, idle: list[Connection]) -> Connection:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: Connection(idle), "127.0.0.1", self.port)
        return made

    async def at_rate(self, rate: float, seconds: float) -> None:
        """Requests at random moments, `rate` per second on average."""
        chance = random.Random(1)  # noqa: S311
        under_way: set[asyncio.Task[None]] = set()
        due = time.perf_counter()
        end = due + seconds
        while (due := due + chance.expovariate(rate)) < end:
            if (ahead := due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            task = asyncio.create_task(self.send(due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        while under_way:
            await asyncio.wait(under_way)

    async def at_once(self, count: int, seconds: float) -> None:
        """`count` requests always under way."""
        end = time.perf_counter() + seconds

        async def one_after_another() -> None:
            while (now := time.perf_counter()) < end:
                await self.send(now)

        await asyncio.gather(*(one_after_another() for _ in range(count)))


def posts(
    path: str, key: str, also: dict[str, object], texts: int, seed: int
) -> Callable[[], bytes]:
    """Searches for texts: all unlike if `texts` is 0, else of so many."""
    chance = random.Random(seed)  # noqa: S311
    count = 0

    def make() -> bytes:
        nonlocal count
        count += 1
        number = chance.randrange(texts) if texts else count + seed * 10_000_000
        body = json.dumps({key: f"a photo of thing {number} in a field", **also}).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    return make


def quantile(times: list[float], share: float) -> float | None:
    return round(sorted(times)[int(share * (len(times) - 1))], 1) if times else None


async def measured(client: Client, arguments: argparse.Namespace) -> dict[str, object]:
    probing = asyncio.create_task(client.probe())
    started = time.perf_counter()
    client.until = started + arguments.seconds
    if arguments.rate:
        await client.at_rate(arguments.rate, arguments.seconds)
    else:
        await client.at_once(arguments.at_once, arguments.seconds)
    probing.cancel()
    used = resource.getrusage(resource.RUSAGE_SELF)
    answered, refused = client.times.pop(200, []), client.times.pop(503, [])
    return {
        "answered_per_s": round(client.in_time.get(200, 0) / arguments.seconds, 1),
        "p50_ms": quantile(answered, 0.5),
        "p99_ms": quantile(answered, 0.99),
        "refused_per_s": round(client.in_time.get(503, 0) / arguments.seconds, 1),
        "refused_p99_ms": quantile(refused, 0.99),
        "failed": len(client.times.pop(FAILED, [])),
        "others": {status: len(times) for status, times in client.times.items()},
        "health_p99_ms": quantile(client.livez, 0.99),
        "client_cpu": round((used.ru_utime + used.ru_stime) / (time.perf_counter() - started), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument(
        "--texts", type=int, default=0, help="0: all unlike, so that none is cached"
    )
    parser.add_argument("--path", default="/v1/search")
    parser.add_argument("--key", default="text", help="of the text in the request's JSON")
    parser.add_argument("--also", type=json.loads, default={}, help="the rest of that JSON")
    parser.add_argument("--health", default="/livez")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    make = posts(arguments.path, arguments.key, arguments.also, arguments.texts, arguments.seed)
    client = Client(arguments.port, make, arguments.health)
    print(json.dumps(asyncio.run(measured(client, arguments))))


if __name__ == "__main__":
    main()
