"""Retrieval quality by people's judgements: of a candidate index and of the live release."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import psycopg

from clip_assets.errors import ModelError, TermsError
from clip_assets.index.tables import Index
from clip_assets.judge import texts
from clip_assets.judge.baseline import baseline_release
from clip_assets.judge.judgement import People, Quality
from clip_assets.judge.queries import Floats
from clip_assets.judge.statements import statement
from clip_assets.judgements import judgements
from clip_assets.judgements.judgements import HumanJudgement
from clip_assets.judgements.query import Query
from clip_assets.model import ModelIdentity, ModelSpec
from clip_assets.node.job import TextJob
from clip_assets.quality.ranking import ndcg
from clip_assets.search.nearest import Graph, nearest
from clip_assets.search.terms import together

K = 10

Encode = Callable[[TextJob], Floats]


@dataclass(frozen=True)
class _Side:
    """The candidate or the live release."""

    graph: Graph
    spec: ModelSpec
    identity: ModelIdentity


def people(
    connection: psycopg.Connection, index: Index, graph: Graph, encode: Encode = texts.encoded
) -> People | None:
    """nDCG@10 and recall of the right images, measured for the index and for the live release.

    Both get the same queries over the same images. A query counts if both can answer it and if
    somebody marked an image as right for it. None if there are no judgements.
    """
    verdicts = _verdicts(judgements.listed(connection, index.collection))
    if not verdicts:
        return None
    sides = [_Side(graph, index.spec, index.identity)]
    release = baseline_release(connection, index.collection, index.index_id)
    if release:
        sides.append(_Side(release.graph, release.spec, release.identity))
    asked = [query for query, images in verdicts.items() if any(images.values())]
    vectors, problem = _vectors(connection, sides, asked, encode)
    known = {name for query in asked for name in verdicts[query]}
    for side in sides:
        known &= _stored(connection, side.graph, known).keys()
    counted = {
        query: {name: right for name, right in verdicts[query].items() if name in known}
        for query in asked
        if all(query in of for of in vectors)
    }
    counted = {query: images for query, images in counted.items() if any(images.values())}
    qualities = [
        _quality(connection, side.graph, of, counted)
        for side, of in zip(sides, vectors, strict=True)
    ]
    return People(
        judgements=sum(len(images) for images in verdicts.values()),
        queries=len(counted),
        candidate=qualities[0],
        live=qualities[1] if len(sides) > 1 else None,
        release_id=release.id if release else None,
        problem=problem,
    )


def _verdicts(rows: list[HumanJudgement]) -> dict[Query, dict[str, bool]]:
    """The majority's verdict on each image, by query; images with a tie are omitted."""
    votes: dict[Query, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        votes[row.query][row.image_id] += 1 if row.is_right else -1
    return {
        query: {name: count > 0 for name, count in images.items() if count}
        for query, images in votes.items()
    }


def _vectors(
    connection: psycopg.Connection, sides: list[_Side], asked: list[Query], encode: Encode
) -> tuple[list[dict[Query, Floats]], str | None]:
    """The vectors of the queries for each side, and why those with texts are missing."""
    names = {name for query in asked for name in query.image_ids}
    wanted = tuple(sorted({text for query in asked for text in query.texts}))
    found: list[dict[Query, Floats]] = []
    encoded: dict[str, dict[str, Floats]] = {}  # by model and text
    problem = None
    for side in sides:
        key = side.identity.text_key
        if wanted and problem is None and key not in encoded:
            job = TextJob(spec=side.spec, identity=side.identity, texts=wanted)
            try:
                encoded[key] = dict(zip(wanted, encode(job), strict=True))
            except ModelError as error:
                problem = str(error)
        of = _Terms(encoded.get(key, {}), _stored(connection, side.graph, names))
        vectors = {query: of.vector(query, side.identity.dim) for query in asked}
        found.append({query: v for query, v in vectors.items() if v is not None})
    return found, problem


@dataclass(frozen=True)
class _Terms:
    """The vectors of texts and of stored images, by a side's model."""

    texts: dict[str, Floats]
    images: dict[str, Floats]

    def vector(self, query: Query, dim: int) -> Floats | None:
        """None if the vector of a term is missing, or if the terms cancel each other out."""
        vectors = [
            self.images.get(term.image_id) if term.image_id else self.texts.get(term.text or "")
            for term in query.terms
        ]
        known = [vector for vector in vectors if vector is not None]
        if len(known) < len(vectors):
            return None
        try:
            return together(known, [term.weight for term in query.terms], dim)
        except TermsError:
            return None


def _stored(
    connection: psycopg.Connection, graph: Graph, names: Iterable[str]
) -> dict[str, Floats]:
    """The vectors of those images that the index has."""
    asked = {"image_ids": [*names]}
    rows = connection.execute(statement("vectors_of", table=graph.table), asked)
    return {name: np.asarray(vector, np.float32) for name, vector in rows}


def _quality(
    connection: psycopg.Connection,
    graph: Graph,
    vectors: dict[Query, Floats],
    verdicts: dict[Query, dict[str, bool]],
) -> Quality | None:
    if not verdicts:
        return None
    gains, recalls, judged = [], [], []
    for query, images in verdicts.items():
        rows = nearest(connection, graph, vectors[query], K + len(query.image_ids)).rows
        names = [row.image_id for row in rows if row.image_id not in query.image_ids][:K]
        ranked = [images.get(name, False) for name in names]
        right = sum(images.values())
        gains.append(ndcg([*ranked, *[False] * (K - len(ranked))], right))
        recalls.append(sum(ranked) / min(right, K))
        judged.append(sum(name in images for name in names) / max(1, len(names)))
    return Quality(
        ndcg=float(np.mean(gains)), recall=float(np.mean(recalls)), judged=float(np.mean(judged))
    )
