"""Thousands of equal vectors: whichever of them a search finds, it found the right ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from clip_assets.index import build
from clip_assets.index.vector_type import VectorType
from clip_assets.judge import judge, queries
from clip_assets.judge.comparison import Comparison
from clip_assets.judge.judgement import Judgement, Wanted
from clip_assets.judge.queries import Query
from clip_assets.release import release
from clip_assets.store.objects import Objects
from tests.integration.support import Made, Model, both_types, clustered, find, reconcile, table_of

ROWS, COPIES = 4_000, 2_000
BLANK = clustered(1, 77)[0]

Floats = NDArray[np.float32]


@pytest.fixture
def blanks(tmp_path: Path, vector_type: VectorType) -> Made:
    """Four thousand images, half of them copies of one picture."""
    made = Made(Objects(str(tmp_path / "blanks")), vector_type=vector_type)
    return _with_copies(made)


def _with_copies(made: Made) -> Made:
    vectors = clustered(ROWS, 1)
    vectors[np.random.default_rng(3).permutation(ROWS)[:COPIES]] = BLANK
    names = [f"{number:05d}.jpg" for number in range(ROWS)]
    made.add("00000", table=table_of(names, [None] * ROWS, vectors))
    return made


@pytest.fixture
def captions(monkeypatch: pytest.MonkeyPatch, blanks: Made) -> list[Query]:
    """Texts that are near the copies; each is the caption of one of them."""
    rows = blanks.rows()
    equal = [np.allclose(vector, BLANK) for vector in rows.column("embedding").to_pylist()]
    names = [name for name, is_copy in zip(rows.column("image_id").to_pylist(), equal, strict=True)
             if is_copy][::70]  # fmt: skip
    noise = np.random.default_rng(5).normal(size=(len(names), len(BLANK))) * 0.05
    near: Floats = (BLANK + noise).astype(np.float32)
    made = [Query(name, vector / np.linalg.norm(vector), text=name)
            for name, vector in zip(names, near, strict=True)]  # fmt: skip
    monkeypatch.setattr(queries, "texts", lambda *_: made)
    return made


@both_types
def test_equal_vectors_are_interchangeable(
    connection: psycopg.Connection, blanks: Made, captions: list[Query]
) -> None:
    """Searched exactly, without an HNSW, everything that is measured is perfect: recall of texts
    and images, with filters and without, and captions, whose image has thousands of equals."""
    index = reconcile(connection, blanks).index
    connection.execute(f"ANALYZE clip_assets.images_{index.index_id}")  # type: ignore[arg-type]
    judgement = judge.judge(connection, blanks.objects, index, Wanted(recall=0.95), ladder=(40,))
    (reached,) = judgement.ladder
    assert (reached.text.mean, reached.image.mean) == (1, 1)
    assert {(one.text.mean, one.image.mean) for one in reached.filtered} == {(1, 1)}
    assert {one.share for one in reached.filtered} == {0.5, 0.1, 0.01}
    assert judgement.caption_recall == 1
    assert judgement.caption_queries == len(captions)
    assert (judgement.equal_vectors, judgement.most_equal) == (COPIES, COPIES)


def test_copies_count_for_the_overlap(
    connection: psycopg.Connection, blanks: Made, captions: list[Query]
) -> None:
    """Two indexes of the same vectors overlap fully, although each finds other copies."""
    live = reconcile(connection, blanks).index
    build.build(connection, live, ROWS)
    judge.judge(connection, blanks.objects, live, Wanted(recall=0.1), ladder=(40,))
    release.publish(connection, find(connection, blanks), "run-1")
    connection.execute(f"DROP INDEX clip_assets.{live.hnsw}".encode())
    twin = replace(blanks, model=Model("twin", weights="c" * 64))
    rows = blanks.rows()
    twin.add("00000", table=rows.take(np.random.default_rng(8).permutation(ROWS)))
    index = reconcile(connection, twin).index
    judgement = judge.judge(connection, twin.objects, index, Wanted(recall=0.1), ladder=(40,))
    assert judgement.overlap
    assert judgement.overlap.text == pytest.approx(1.0)
    assert judgement.overlap.image == pytest.approx(1.0)
    table = Comparison.of(index, judgement, None).markdown
    assert "| vectors equal to another's | 2,000 |" in table


def test_without_copies_nothing_is_equal(connection: psycopg.Connection, released: Made) -> None:
    """The made-up vectors differ."""
    stored = Judgement.model_validate(find(connection, released).judgement)
    assert (stored.equal_vectors, stored.most_equal) == (0, 0)
