"""Counts of requests for the rate limits, which all workers of a service share."""

import sqlite3
import time
from pathlib import Path

from limits.storage import MemoryStorage

_TABLE = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS hits (key TEXT PRIMARY KEY, count INTEGER, until REAL) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO hits VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET count = count + excluded.count RETURNING count
"""


class SharedStorage(MemoryStorage):
    """limits' storage in memory, with its counters in a SQLite file.

    limits itself has no storage that processes of one machine can share without a server. The file
    survives a worker that is killed during a write.
    """

    STORAGE_SCHEME: list[str] = []  # noqa: RUF012 - as in the class above

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._file.executescript(_TABLE)

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to a window's counter and return it; a new window deletes expired ones."""
        now = time.time()
        ((count,),) = self._file.execute(_ADD, (key, amount, now + expiry)).fetchall()
        if count == amount:
            self._file.execute("DELETE FROM hits WHERE until < ?", [now])
        return int(count)

    def decr(self, key: str, amount: int = 1) -> int:
        return self.incr(key, 0, -amount)

    def get(self, key: str) -> int:
        found = self._file.execute("SELECT count FROM hits WHERE key = ?", [key]).fetchone()
        return found[0] if found else 0
