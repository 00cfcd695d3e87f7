"""PostgreSQL's binary COPY format, written straight from Arrow columns.

Format: https://www.postgresql.org/docs/current/sql-copy.html (Binary Format). A halfvec on the
wire is int16 dimensions, int16 zero, then big-endian float16 values (pgvector, halfvec_recv).
"""

import hashlib
import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)
_NULL = struct.pack(">i", -1)
_ROWS_PER_CHUNK = 1_000


def image_rows(shard: str, first_row: int, table: pa.Table) -> Iterator[bytes]:
    """Chunks of rows for `copy_rows`, numbered from `first_row`."""
    for start in range(0, len(table), _ROWS_PER_CHUNK):
        chunk = table.slice(start, _ROWS_PER_CHUNK)
        yield b"".join(_image_rows(shard, first_row + start, chunk))


def thumbnail_rows(table: pa.Table) -> Iterator[bytes]:
    """Chunks of rows for `copy_thumbnails`."""
    for start in range(0, len(table), _ROWS_PER_CHUNK):
        chunk = table.slice(start, _ROWS_PER_CHUNK)
        columns = zip(
            chunk.column("sha256").to_pylist(), chunk.column("thumbnail").to_pylist(), strict=True
        )
        yield b"".join(
            b"\x00\x02" + _text(sha256) + struct.pack(">i", len(webp)) + webp
            for sha256, webp in columns
        )


def checksum(table: pa.Table) -> int:
    """int64 over image ids and vectors as the index stores them; the order does not matter.

    XOR of the first 8 bytes of each row's sha256(halfvec on the wire, then image id), which
    `damaged_shards` computes of what the table holds.
    """
    vectors = _halfvecs(table)[:, 4:]
    total = 0
    for vector, image_id in zip(vectors, table.column("image_id").to_pylist(), strict=True):
        digest = hashlib.sha256(vector.tobytes() + image_id.encode()).digest()
        total ^= int.from_bytes(digest[:8], "big", signed=True)
    return total


def _image_rows(shard: str, first_row: int, table: pa.Table) -> Iterator[bytes]:
    head = struct.pack(">h", 9) + _text(shard)
    texts = [table.column(name).to_pylist() for name in ("image_id", "uri", "caption", "sha256")]
    sizes = [table.column(name).to_pylist() for name in ("width", "height")]
    vectors = _halfvecs(table)
    for row, (image_id, uri, caption, sha256, width, height) in enumerate(
        zip(*texts, *sizes, strict=True)
    ):
        yield head
        yield struct.pack(">ii", 4, first_row + row)
        yield _text(image_id) + _text(uri) + _text(caption) + _text(sha256)
        yield struct.pack(">iiii", 4, width, 4, height)
        yield vectors[row].tobytes()


def _halfvecs(table: pa.Table) -> NDArray[np.uint8]:
    """uint8[rows, 8 + 2 * dim]: each row one length-prefixed halfvec."""
    column = table.column("embedding").combine_chunks()
    dim = column.type.list_size
    halves = column.flatten().to_numpy().reshape(-1, dim).astype(">f2")
    head = np.frombuffer(struct.pack(">ihh", 4 + 2 * dim, dim, 0), np.uint8)
    return np.hstack([np.broadcast_to(head, (len(halves), 8)), halves.view(np.uint8)])


def _text(value: str | None) -> bytes:
    if value is None:
        return _NULL
    data = value.encode().replace(b"\0", b"")
    return struct.pack(">i", len(data)) + data
