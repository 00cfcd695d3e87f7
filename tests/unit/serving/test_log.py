"""Logging never waits for the reader of stderr."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import pytest

from serving.log import IfReady, Unblocked


@pytest.fixture
def pipe() -> Iterator[tuple[TextIO, TextIO]]:
    """What reads a pipe, and what writes to it."""
    reads, writes = os.pipe()
    with ExitStack() as opened:
        yield opened.enter_context(os.fdopen(reads)), opened.enter_context(os.fdopen(writes, "w"))


def _record(text: str) -> logging.LogRecord:
    return logging.LogRecord("serving", logging.INFO, "", 0, text, None, None)


def test_a_stalled_reader_costs_lines_but_no_time(pipe: tuple[TextIO, TextIO]) -> None:
    """More than a pipe holds is logged without a wait. Once the reader is back, it gets lines in
    order, and they and the numbers of dropped ones add up."""
    reader, writer = pipe
    handler = Unblocked(writer, lines=10)
    for number in range(5000):
        handler.emit(_record(f"{number:09d} {'x' * 90}"))
    seen: list[int] = []
    dropped = 0
    while len(seen) + dropped < 5000:
        line = reader.readline()
        number = int(line.split()[0])
        if line.endswith("log lines were dropped, because nothing read stderr\n"):
            dropped += number
        else:
            seen.append(number)
    assert dropped
    assert seen == sorted(seen)
    handler.close()


def test_closing_writes_what_is_left(pipe: tuple[TextIO, TextIO]) -> None:
    """The last lines of a service that ends are not lost."""
    reader, writer = pipe
    handler = Unblocked(writer)
    for number in range(100):
        handler.emit(_record(str(number)))
    handler.close()
    assert [int(reader.readline()) for _ in range(100)] == list(range(100))


def test_a_stderr_that_fails_is_not_an_error(tmp_path: Path) -> None:
    """A service without a stderr goes on."""
    gone = (tmp_path / "log").open("w")
    gone.close()
    for handler in (Unblocked(gone), IfReady(gone)):
        handler.emit(_record("lost"))
        handler.close()


def test_without_a_thread_lines_are_dropped_while_nothing_reads(
    pipe: tuple[TextIO, TextIO],
) -> None:
    """More than a pipe holds is logged without a wait."""
    reader, writer = pipe
    handler = IfReady(writer)
    for number in range(5000):
        handler.emit(_record(f"{number:09d} {'x' * 90}"))
    assert [int(reader.readline().split()[0]) for _ in range(100)] == [*range(100)]
    handler.close()
