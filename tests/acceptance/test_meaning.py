"""Results have meaning: words find their pictures through the whole pipeline.

With random weights, wrong preprocessing, skipped normalization and misaligned rows go unnoticed;
here each of them prevents the release.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psycopg
import pytest

from clip_assets import catalog
from clip_assets.checks.embeddings import fault_of
from clip_assets.errors import ReleaseError
from clip_assets.index import build, load, tables
from clip_assets.index.spec import IndexSpec
from clip_assets.judge import judge
from clip_assets.judge.judgement import Judgement, Wanted
from clip_assets.model import ModelSpec
from clip_assets.node import embed, encoder, prepare
from clip_assets.node.decode import Decoded, Limits
from clip_assets.node.encoder import Encoder
from clip_assets.node.job import EmbedJob
from clip_assets.release import release
from clip_assets.search import search
from clip_assets.search.search import Hit, Release
from clip_assets.source.config import WebDatasetConfig
from clip_assets.source.open import open_source
from clip_assets.store.objects import Objects

SAMPLE = Path(__file__).parents[2] / "sample"
SPEC = ModelSpec(name=f"local-dir:{SAMPLE / 'clip-sample'}")
METRICS = json.loads((SAMPLE / "clip-sample/metrics.json").read_text())
FEW = "0..1"  # enough to show a mistake; among fewer pictures captions find theirs more easily
WANTED = Wanted(recall=0.95, caption_recall=0.95 * METRICS["text_to_image"]["recall@10"])


@dataclass(frozen=True)
class Sample:
    """The sample collection, embedded and indexed by whatever code is in force."""

    objects: Objects
    connection: psycopg.Connection
    judgement: Judgement

    @property
    def index(self) -> tables.Index:
        return tables.find(self.connection, "sample", SPEC.slug)


def make(folder: Path, address: str, *, shards: str = "all") -> Sample:
    objects = Objects(str(folder))
    source = WebDatasetConfig(type="webdataset", uri=str(SAMPLE / "collection"))
    head = catalog.refresh(objects, "sample", source, open_source(source).list(), 200)
    keys = catalog.select(head, shards)
    job = EmbedJob(job_id="j", run_id="r", collection="sample", model=SPEC, shards=tuple(keys))
    assert embed.run(objects, job) == 0
    connection = psycopg.connect(address, autocommit=True)
    current = [shard.at for shard in head.pick(keys)]
    done = load.reconcile(connection, objects, IndexSpec("sample", SPEC), current)
    build.build(connection, done.index, head.images)
    return Sample(objects, connection, judge.judge(connection, objects, done.index, WANTED))


@pytest.fixture(scope="module")
def sample(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]
) -> Iterator[Sample]:
    made = make(tmp_path_factory.mktemp("sample"), new_database())
    yield made
    made.connection.close()


@pytest.fixture(scope="module")
def live(sample: Sample) -> Release:
    return release.publish(sample.connection, sample.index, "run")[0]


@pytest.fixture(scope="module")
def model() -> Encoder:
    return encoder.load(SPEC, "cpu")


def test_captions_find_their_pictures(sample: Sample) -> None:
    """On the whole collection, captions find their pictures as often as in training."""
    measured = sample.judgement.caption_recall
    assert measured is not None
    assert sample.judgement.caption_queries == METRICS["pictures"]
    assert measured == pytest.approx(METRICS["text_to_image"]["recall@10"], abs=0.03)
    assert sample.judgement.faults == []


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("a red heart", ["red heart", "heart"]),
        ("pizza", ["pizza"]),
        ("flag of Japan", ["japan"]),
        ("a dog", ["dog", "poodle"]),
        ("sunny weather", ["sun"]),
        ("birthday cake", ["birthday cake", "shortcake"]),
        ("rocket", ["rocket"]),
        ("crying face", ["cry"]),
    ],
)
def test_first_queries(
    sample: Sample, live: Release, model: Encoder, text: str, right: list[str]
) -> None:
    """What a newcomer types first shows a right picture among the first three."""
    hits = search.search(sample.connection, live, model.encode_text([text])[0], 3).hits
    assert any(word in caption(hit) for hit in hits for word in right), [caption(h) for h in hits]


def test_more_like_a_cat_shows_cats(sample: Sample, live: Release) -> None:
    """The neighbours of a cat are mostly other cats."""
    row = sample.connection.execute(
        "SELECT image_id FROM sample.images WHERE caption = 'cat face'"
    ).fetchone()
    assert row
    vector = search.vector_of(sample.connection, live, row[0])
    assert vector is not None
    hits = search.search(sample.connection, live, vector, 6).hits[1:]
    assert sum("cat" in caption(hit) for hit in hits) >= 3, [caption(h) for h in hits]


def caption(hit: Hit) -> str:
    return (hit.caption or "").lower()


def test_swapped_channels_are_not_published(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red and blue swapped on the way in: captions no longer find their pictures."""
    decode = prepare.decode

    def swapped(data: bytes, limits: Limits, enough: int) -> Decoded:
        right = decode(data, limits, enough)
        return replace(right, pixels=right.pixels[:, :, ::-1].copy())

    monkeypatch.setattr(prepare, "decode", swapped)
    with (
        make(tmp_path, database, shards=FEW).connection as connection,
        pytest.raises(ReleaseError, match="captions find their own image"),
    ):
        release.publish(connection, tables.find(connection, "sample", SPEC.slug), "run")


def test_misaligned_rows_are_not_published(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each vector one row too late within its batch: captions no longer find their pictures."""
    encode = Encoder.encode_pixels
    monkeypatch.setattr(Encoder, "encode_pixels", lambda *given: np.roll(encode(*given), 1, axis=0))
    with (
        make(tmp_path, database, shards=FEW).connection as connection,
        pytest.raises(ReleaseError, match="captions find their own image"),
    ):
        release.publish(connection, tables.find(connection, "sample", SPEC.slug), "run")


def test_skipped_normalisation_fails_the_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors that are not of unit length fail the check that guards the shard."""
    monkeypatch.setattr(encoder, "_unit", lambda features: features.float().cpu().numpy())
    objects = Objects(str(tmp_path))
    source = WebDatasetConfig(type="webdataset", uri=str(SAMPLE / "collection"))
    head = catalog.refresh(objects, "sample", source, open_source(source).list(), 50)
    job = EmbedJob(job_id="j", run_id="r", collection="sample", model=SPEC, shards=("00000",))
    embed.run(objects, job)
    assert "50 vectors are not of unit length" in fault_of(objects, SPEC.slug, head.shards[0])
