"""Retrieval quality by people's judgements: of a candidate index and of the live release."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import psycopg

from clip_assets.errors import ModelError, ReleaseError
from clip_assets.index.tables import Index
from clip_assets.judge import texts
from clip_assets.judge.judgement import People, Quality
from clip_assets.judge.queries import Floats
from clip_assets.judge.statements import statement
from clip_assets.judgements import judgements
from clip_assets.judgements.judgements import HumanJudgement
from clip_assets.model import ModelIdentity, ModelSpec
from clip_assets.node.job import TextJob
from clip_assets.quality.ranking import ndcg
from clip_assets.search.nearest import Graph, nearest
from clip_assets.search.search import live

K = 10

Encode = Callable[[TextJob], Floats]

_Query = tuple[str, str]  # a text and the id of an image, one of them empty


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

    Both are asked the same queries, and know the same images. A query counts if both can answer it,
    and if somebody named an image that is right for it. None if nobody judged anything.
    """
    verdicts = _verdicts(judgements.listed(connection, index.collection))
    if not verdicts:
        return None
    sides = [_Side(graph, index.spec, index.identity)]
    try:
        release = live(connection, index.collection)
    except ReleaseError:
        release = None
    if release and release.index_id != index.index_id:
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
        release_id=release.id if release and len(sides) > 1 else None,
        problem=problem,
    )


def _verdicts(rows: list[HumanJudgement]) -> dict[_Query, dict[str, bool]]:
    """What most people say of each image, by query; if as many say the opposite, nothing."""
    votes: dict[_Query, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        votes[row.query][row.image_id] += 1 if row.is_right else -1
    return {
        query: {name: count > 0 for name, count in images.items() if count}
        for query, images in votes.items()
    }


def _vectors(
    connection: psycopg.Connection, sides: list[_Side], asked: list[_Query], encode: Encode
) -> tuple[list[dict[_Query, Floats]], str | None]:
    """The vectors of the queries for each side, and why those of texts are missing."""
    images = [image for _, image in asked if image]
    wanted = tuple(text for text, _ in asked if text)
    found: list[dict[_Query, Floats]] = []
    encoded: dict[str, Floats] = {}
    problem = None
    for side in sides:
        of = {("", name): v for name, v in _stored(connection, side.graph, images).items()}
        key = side.identity.key
        if wanted and problem is None and key not in encoded:
            try:
                encoded[key] = encode(TextJob(spec=side.spec, identity=side.identity, texts=wanted))
            except ModelError as error:
                problem = str(error)
        if key in encoded:
            of |= {(text, ""): v for text, v in zip(wanted, encoded[key], strict=True)}
        found.append(of)
    return found, problem


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
    vectors: dict[_Query, Floats],
    verdicts: dict[_Query, dict[str, bool]],
) -> Quality | None:
    if not verdicts:
        return None
    gains, recalls, judged = [], [], []
    for query, images in verdicts.items():
        rows = nearest(connection, graph, vectors[query], K + bool(query[1])).rows
        names = [row.image_id for row in rows if row.image_id != query[1]][:K]
        ranked = [images.get(name, False) for name in names]
        right = sum(images.values())
        gains.append(ndcg([*ranked, *[False] * (K - len(ranked))], right))
        recalls.append(sum(ranked) / min(right, K))
        judged.append(sum(name in images for name in names) / max(1, len(names)))
    return Quality(
        ndcg=float(np.mean(gains)), recall=float(np.mean(recalls)), judged=float(np.mean(judged))
    )
