"""A candidate beside what is live: how much of the answers to the same questions they share."""

from collections.abc import Iterator

import numpy as np
import psycopg

from clip_assets.errors import ReleaseError, StoreError
from clip_assets.index import probes, tables
from clip_assets.index.exam import K
from clip_assets.index.judgement import Beside
from clip_assets.index.nearest import Graph, nearest
from clip_assets.index.probes import Floats, Probe
from clip_assets.index.search import Release, live
from clip_assets.index.statements import statement
from clip_assets.store.objects import Objects

_QUERIES = 100

_Pair = tuple[Probe, Floats]
"""One question as the candidate's model encodes it, and as the live one does."""


def overlap(
    connection: psycopg.Connection,
    objects: Objects,
    collection: str,
    graph: Graph,
    asked: list[Probe],
) -> Beside | None:
    """None where nothing is live, or this index itself: its shards are replaced in place."""
    try:
        release = live(connection, collection)
    except ReleaseError:
        return None
    if release.index_id == graph.index_id:
        return None
    texts = list(_same_texts(connection, objects, release, asked))[:_QUERIES]
    images = list(_same_images(connection, release, asked))[:_QUERIES]
    return Beside(
        release_id=release.id,
        model=release.identity.short,
        text=_shared(connection, graph, release.graph, texts),
        image=_shared(connection, graph, release.graph, images),
        texts=len(texts),
        images=len(images),
    )


def _same_texts(
    connection: psycopg.Connection, objects: Objects, release: Release, asked: list[Probe]
) -> Iterator[_Pair]:
    theirs = tables.ledger_of(connection, release.index_id)
    try:
        known = probes.texts(objects, [path for path, _, _ in theirs.values()])
    # Files that an older index was loaded from may be gone; it answers all the same.
    except (StoreError, FileNotFoundError):
        return
    vectors = {probe.text: probe.vector for probe in known}
    for probe in asked:
        if probe.text in vectors:
            yield probe, vectors[probe.text]


def _same_images(
    connection: psycopg.Connection, release: Release, asked: list[Probe]
) -> Iterator[_Pair]:
    images = [probe for probe in asked if probe.is_image]
    rows = connection.execute(
        statement("vectors_of", table=release.graph.table),
        {"image_ids": [probe.image_id for probe in images]},
    )
    vectors = {image_id: np.asarray(vector, np.float32) for image_id, vector in rows}
    for probe in images:
        if probe.image_id in vectors:
            yield probe, vectors[probe.image_id]


def _shared(
    connection: psycopg.Connection, candidate: Graph, live: Graph, pairs: list[_Pair]
) -> float | None:
    """Mean share of the K nearest that both find; the image asked with is none of them."""
    shares = []
    for probe, theirs in pairs:
        ours = _found(connection, candidate, probe.vector, probe)
        other = _found(connection, live, theirs, probe)
        if ours or other:
            shares.append(len(ours & other) / max(len(ours), len(other)))
    return sum(shares) / len(shares) if shares else None


def _found(connection: psycopg.Connection, graph: Graph, vector: Floats, probe: Probe) -> set[str]:
    rows, _ = nearest(connection, graph, vector, K + probe.is_image)
    names = [row[1] for row in rows if not (probe.is_image and row[1] == probe.image_id)]
    return set(names[:K])
