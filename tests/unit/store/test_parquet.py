"""Parquet files are deterministic, and a flipped bit never goes unnoticed."""

import random

import numpy as np
import pyarrow as pa
import pytest

from clip_assets.errors import StoreError
from clip_assets.store import parquet

ROWS, DIM = 500, 16


def embeddings() -> pa.Table:
    vectors = np.random.default_rng(0).standard_normal((ROWS, DIM), np.float32)
    ids = [f"image-{n}" for n in range(ROWS)]
    columns = {
        "image_id": ids, "uri": ids, "caption": [None] * ROWS, "sha256": ids,
        "width": [1] * ROWS, "height": [1] * ROWS, "thumbnail": [b"x"] * ROWS,
        "embedding": parquet.vector_column(vectors),
    }  # fmt: skip
    return pa.table(columns, schema=parquet.embeddings(DIM))


def test_vectors_survive_the_column() -> None:
    """A matrix becomes a column and the same matrix again, also from several chunks."""
    vectors = np.random.default_rng(0).standard_normal((ROWS, DIM), np.float32)
    table = pa.table({"embedding": parquet.vector_column(vectors)})
    halves = pa.concat_tables([table.slice(0, 200), table.slice(200)])
    assert np.array_equal(parquet.vectors(halves), vectors)
    assert parquet.vectors(table.slice(0, 0)).shape == (0, DIM)


def test_the_same_table_gives_the_same_bytes() -> None:
    """Writing is deterministic, so files can be compared by hash."""
    assert parquet.to_bytes(embeddings()) == parquet.to_bytes(embeddings())


def test_a_flipped_bit_never_changes_what_is_read() -> None:
    """Each of 100 files with one flipped bit raises an error or reads as the original table."""
    table = embeddings()
    data = parquet.to_bytes(table)
    places = random.Random(0)
    for _ in range(100):
        damaged = bytearray(data)
        damaged[places.randrange(4, len(data) - 8)] ^= 1 << places.randrange(8)
        try:
            found = parquet.from_bytes(bytes(damaged), "part")
        except (StoreError, ValueError):
            continue
        assert found.equals(table), "a flipped bit changed the table without an error"


def test_a_damaged_file_is_named_with_its_remedy() -> None:
    """The error says which file is damaged and what to do."""
    data = parquet.to_bytes(embeddings())
    with pytest.raises(StoreError, match=r"part-7 is damaged.*verify --repair"):
        parquet.from_bytes(data[: len(data) // 2], "part-7")
