"""Quality by people's judgements, of a candidate and of the live release."""

import numpy as np
import psycopg
import pytest
from psycopg import sql

from clip_assets.errors import ReleaseError
from clip_assets.index import build, load, tables
from clip_assets.index.spec import IndexSpec
from clip_assets.index.vector_type import VectorType
from clip_assets.judge import judge, people
from clip_assets.judge.comparison import Comparison
from clip_assets.judge.judgement import Judgement, Wanted
from clip_assets.judgements import judgements
from clip_assets.judgements.judgements import HumanJudgement
from clip_assets.judgements.query import JudgedTerm, Query
from clip_assets.node import encoder
from clip_assets.release import release
from clip_assets.search import search
from clip_assets.search.search import Release
from tests.integration.photos import (
    IMAGES,
    Photos,
    connection,
    database,
    embedded,
    photos,
    published,
)
from tests.integration.support import COLLECTION

__all__ = ["connection", "database", "embedded", "photos", "published"]

TEXT = "a photo of a cloud"
ABOUT, LIKE = Query.of(text=TEXT), Query.of(image_id="00001.png")


def said(query: Query, image_id: str, right: bool, by: str = "ann") -> HumanJudgement:
    return HumanJudgement(COLLECTION, query, image_id, right, by, judgements.now())


def nearest_to(connection: psycopg.Connection, live: Release, image_id: str) -> list[str]:
    """The images nearest to this one, without itself."""
    vector = search.vector_of(connection, live, image_id)
    assert vector is not None
    hits = search.search(connection, live, vector, IMAGES).hits
    return [hit.image_id for hit in hits if hit.image_id != image_id]


def test_judged_queries_are_measured(connection: psycopg.Connection, photos: Photos) -> None:
    """Texts, images and both together, by the vectors that the index's own model gives them; the
    opinion of most counts, and no query counts for which nothing is right."""
    live = search.live(connection)
    (vector,) = encoder.load(photos.spec, "cpu").encode_text([TEXT])
    by_text = [hit.image_id for hit in search.search(connection, live, vector, IMAGES).hits]
    like = nearest_to(connection, live, "00001.png")
    image = search.vector_of(connection, live, "00001.png")
    assert image is not None
    apart = vector - image / 2
    by_both = search.search(connection, live, apart / np.linalg.norm(apart), IMAGES).hits
    best = next(hit.image_id for hit in by_both if hit.image_id != "00001.png")
    judgements.record(
        connection,
        [
            said(Query((JudgedTerm(image_id="00001.png", weight=-0.5), *ABOUT.terms)), best, True),
            said(ABOUT, by_text[0], True),
            said(ABOUT, by_text[1], False),
            said(LIKE, like[-1], True),  # far beyond the tenth
            said(LIKE, like[0], True),
            said(LIKE, like[0], False, "ben"),  # one says so, one the opposite
            said(Query.of(image_id="00002.png"), like[0], False),
        ],
    )
    index = tables.find(connection, COLLECTION, photos.spec.slug)
    found = people.people(connection, index, live.graph)
    assert found
    assert found.problem is None
    assert (found.queries, found.live) == (3, None)
    assert found.candidate
    assert found.candidate.ndcg == found.candidate.recall == pytest.approx(2 / 3)
    assert found.candidate.judged == pytest.approx(0.1)


def test_nobody_judged_anything(connection: psycopg.Connection, photos: Photos) -> None:
    """Nothing is measured, and no model is loaded."""
    index = tables.find(connection, COLLECTION, photos.spec.slug)
    assert people.people(connection, index, search.live(connection).graph) is None


def test_a_fall_blocks_the_release_if_it_may(
    connection: psycopg.Connection, photos: Photos
) -> None:
    """Candidate and live release stand side by side; a candidate that loses more than is allowed
    is not published, and one that may lose it is."""
    live = search.live(connection)
    like = nearest_to(connection, live, "00001.png")
    rows = [said(LIKE, name, True) for name in like[:3]]
    judgements.record(connection, rows)
    spec = IndexSpec(COLLECTION, photos.spec, VectorType.VECTOR)
    candidate = load.reconcile(connection, photos.objects, spec, photos.current).index
    connection.execute(
        sql.SQL(
            "UPDATE clip_assets.{table} SET embedding = "
            "(SELECT embedding FROM clip_assets.{table} WHERE image_id = %s) "
            "WHERE image_id = ANY (%s)"
        ).format(table=candidate.table),
        [like[-1], like[:3]],
    )
    build.build(connection, candidate, IMAGES)

    def judged(allowed: float | None) -> Judgement:
        index = tables.find(connection, COLLECTION, photos.spec.slug, VectorType.VECTOR)
        wanted = Wanted(recall=0.01, judged_fall=allowed)
        return judge.judge(connection, photos.objects, index, wanted)

    strict = judged(0.05)
    assert strict.people
    assert strict.people.candidate
    assert strict.people.live
    assert strict.people.live.ndcg == 1
    assert strict.people.candidate.ndcg < 0.9
    assert strict.people.release_id == live.id
    assert "nDCG@10 falls from 1.000" in strict.judged_faults[0]
    index = tables.find(connection, COLLECTION, photos.spec.slug, VectorType.VECTOR)
    table = Comparison.of(index, strict, live).markdown
    assert f"| judged queries, nDCG@10 | {strict.people.candidate.ndcg:.3f} | 1.000 |" in table
    with pytest.raises(ReleaseError, match="by people's judgements of 1 queries"):
        release.publish(connection, index, "run")
    assert judged(None).judged_faults == judged(1.0).judged_faults == []
