"""A file read by byte ranges, for formats whose index is spread across the file."""

import io
from collections.abc import Callable

SMALLEST, LARGEST = 64 << 10, 4 << 20  # bytes per request
NEAR = 256 << 10  # bytes; skipping a shorter gap costs more in round trips than it saves


class Ranged(io.RawIOBase):
    """A seekable file over `fetch(offset, size)` that keeps one window of it in memory.

    Sequential reads double the window, up to 4 MiB; a jump resets it to 64 KiB. Reading the
    headers of a tar thus takes few requests if its images are small, and little traffic if they
    are large.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch, self._size = fetch, size
        self._at = self._start = 0
        self._window = b""
        self._ahead = SMALLEST

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self._size if size is None or size < 0 else size
        end = min(self._at + wanted, self._size)
        if end <= self._at:
            return b""
        if self._at < self._start or end > self._start + len(self._window):
            self._load(end)
        data = self._window[self._at - self._start : end - self._start]
        self._at += len(data)
        return data

    def _load(self, end: int) -> None:
        gap = self._at - (self._start + len(self._window))
        near = -len(self._window) <= gap <= NEAR
        self._ahead = min(self._ahead * 2, LARGEST) if near else SMALLEST
        size = min(max(self._ahead, end - self._at), self._size - self._at)
        self._window = self._fetch(self._at, size)
        self._start = self._at
