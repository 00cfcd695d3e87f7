"""Packs a folder into pieces of one compressed tar, and unpacks them after verifying each."""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from clip_assets.errors import StoreError
from clip_assets.postgres.memory import MEMORY_FILE
from clip_assets.snapshot.manifest import Piece, piece
from clip_assets.store.objects import Objects

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Step = Callable[[str, int, int], None]
"""Called with the name of the step, the amount done, and the total."""

PIECE_BYTES = 64 << 20
_AHEAD = 3  # pieces fetched while one is unpacked; each is in memory
# Specific to this machine and this run of the server. Sockets and locks are not regular files.
_LEFT_OUT = {"log", ".handle_pids.json", "postmaster.pid", "postmaster.opts", MEMORY_FILE}


def pack(folder: Path, objects: Objects, snapshot: str, step: Step) -> tuple[list[Piece], int]:
    """Write the folder's files as pieces; returns the pieces and the total size of the files."""
    files = [*_files(folder)]
    total = sum(path.stat().st_size for path in files if path.is_file())
    done = 0
    writer = _Writer(objects, snapshot)
    with (
        pa.CompressedOutputStream(pa.PythonFile(writer, "w"), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        for path in files:
            tar.add(path, path.relative_to(folder).as_posix(), recursive=False)
            done += path.stat().st_size if path.is_file() else 0
            step("packing", done, total)
    return writer.finish(), total


def unpack(objects: Objects, pieces: Sequence[Piece], folder: Path, limit: int, step: Step) -> None:
    """Unpack into the empty `folder`.

    Raises StoreError if a piece is missing or was changed, or if the archive has more than
    `limit` bytes, anything but files and folders, or a path that leads outside the folder.
    """
    with (
        closing(_Reader(objects, pieces, step)) as reader,
        pa.CompressedInputStream(pa.PythonFile(reader, "r"), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        for member in tar:
            limit -= member.size
            if limit < 0 or not (member.isfile() or member.isdir()):
                raise StoreError(
                    f"{objects.root}: `{member.name}` does not belong in a snapshot. Do not use it."
                )
            try:
                tar.extract(member, folder, filter="data")
            except tarfile.FilterError as error:
                raise StoreError(f"{objects.root}: {error}. Do not use this snapshot.") from error
        while stream.read(1 << 20):  # read to the end, so that the last piece is verified too
            pass


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        base = Path(parent)
        yield from (base / name for name in folders)
        for name in sorted(names):
            path = base / name
            if path.is_file() and not (base == folder and name in _LEFT_OUT):
                yield path


class _Writer(io.RawIOBase):
    """Cuts the written bytes into pieces; stores each once under its final name and verifies it."""

    def __init__(self, objects: Objects, snapshot: str) -> None:
        self._objects, self._snapshot = objects, snapshot
        self._held = bytearray()
        self._pieces: list[Piece] = []

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | memoryview") -> int:  # type: ignore[override]
        self._held += data
        while len(self._held) >= PIECE_BYTES:
            self._put(bytes(self._held[:PIECE_BYTES]))
            del self._held[:PIECE_BYTES]
        return len(data)

    def finish(self) -> list[Piece]:
        if self._held:
            self._put(bytes(self._held))
            self._held.clear()
        return self._pieces

    def _put(self, data: bytes) -> None:
        path = piece(self._snapshot, len(self._pieces))
        digest = hashlib.sha256(data).hexdigest()
        if not self._objects.create(path, data):
            raise StoreError(f"{self._objects.uri(path)} already exists. Run again.")
        if hashlib.sha256(self._objects.get(path)).hexdigest() != digest:
            raise StoreError(f"{self._objects.uri(path)} was not stored as written. Run again.")
        self._pieces.append(Piece(path=path, bytes=len(data), sha256=digest))


class _Reader(io.RawIOBase):
    """The pieces' bytes in order; each piece is verified before its first byte is returned."""

    def __init__(self, objects: Objects, pieces: Sequence[Piece], step: Step) -> None:
        self._objects, self._step = objects, step
        self._total = sum(one.bytes for one in pieces)
        self._done = 0
        self._pool = ThreadPoolExecutor(_AHEAD)
        self._waiting = list(reversed(pieces))
        self._coming: list[Future[bytes]] = []
        self._held = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, into: "WriteableBuffer") -> int:
        target = memoryview(into)
        if not self._held and not self._next():
            return 0
        size = min(len(target), len(self._held))
        target[:size] = self._held[:size]
        self._held = self._held[size:]
        return size

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        super().close()

    def _next(self) -> bool:
        while self._waiting and len(self._coming) < _AHEAD:
            self._coming.append(self._pool.submit(self._fetch, self._waiting.pop()))
        if not self._coming:
            return False
        data = self._coming.pop(0).result()
        self._held = memoryview(data)
        self._done += len(data)
        self._step("fetching", self._done, self._total)
        return True

    def _fetch(self, wanted: Piece) -> bytes:
        uri = self._objects.uri(wanted.path)
        try:
            data = self._objects.get(wanted.path)
        except FileNotFoundError as error:
            raise StoreError(
                f"{uri} is missing. Make a new snapshot, or name another one."
            ) from error
        if hashlib.sha256(data).hexdigest() != wanted.sha256:
            raise StoreError(f"{uri} is damaged. Make a new snapshot, or name another one.")
        return data
