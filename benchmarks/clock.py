"""Seconds by the wall and on the processor, the latter being what a loaded machine leaves true."""

import time
from dataclasses import dataclass
from pathlib import Path

import psycopg


@dataclass(frozen=True)
class Spent:
    """Seconds; `server` is the processor time of one connection's backend, `client` ours."""

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
    """Now; without a connection, no server counts."""
    server = 0.0
    if connection:
        schedule = Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text()
        server = int(schedule.split()[0]) / 1e9
    return Spent(time.perf_counter(), server, time.process_time())
