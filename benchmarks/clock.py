"""Wall time and CPU time; on a loaded machine only CPU time is reliable."""

import time
from dataclasses import dataclass
from pathlib import Path

import psycopg


@dataclass(frozen=True)
class Spent:
    """Seconds; `server` is CPU time of one connection's backend, `client` that of this process."""

    wall: float
    server: float
    client: float

    @property
    def processor(self) -> float:
        return self.server + self.client

    def __sub__(self, before: "Spent") -> "Spent":
        return Spent(
            self.wall - before.wall, self.server - before.server, self.client - before.client
        )


def read(connection: psycopg.Connection | None = None) -> Spent:
    """The current times; without a connection, `server` is 0."""
    server = 0.0
    if connection:
        schedule = Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text()
        server = int(schedule.split()[0]) / 1e9
    return Spent(time.perf_counter(), server, time.process_time())
