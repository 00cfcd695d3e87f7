"""Judge an index before its release: recall against exact search, and the query plan.

Text and image queries are judged separately, and with and without filters, because an index can
have high recall for one and low recall for the other. The judgement stores the smallest ef_search
that reaches the required recall in every case.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from clip_assets.errors import ReleaseError, StoreError
from clip_assets.index import integrity, tables
from clip_assets.index.hnsw import EF_SEARCH_LADDER, SHOWN_ONLY
from clip_assets.index.tables import Index
from clip_assets.judge import overlap, people, queries, ties
from clip_assets.judge.baseline import baseline_release
from clip_assets.judge.evaluation import Evaluation, K, Mark, below, prepare, take
from clip_assets.judge.judgement import KINDS, FilteredRecall, Judgement, Latency, Rung, Wanted
from clip_assets.judge.queries import Query
from clip_assets.judge.statements import statement
from clip_assets.search.nearest import Graph, few_match, nearest, plan
from clip_assets.store.objects import Objects

SHARES = (0.5, 0.1, 0.01, 0.001)
"""Shares of images that match the judged filters; a share of fewer than K images is skipped."""

QUERIES = 300
_COMPARE_QUERIES = 100
"""For exact search, whose recall must be 1.0, fewer queries are enough."""


def judge(
    connection: psycopg.Connection,
    objects: Objects,
    index: Index,
    wanted: Wanted,
    ladder: Sequence[int] = EF_SEARCH_LADDER,
) -> Judgement:
    """Measure the index, store the judgement with it, and return the judgement.

    Raises ReleaseError if there is not a single image to search, or if the table has lost all.
    """
    # Read first: if a shard is loaded meanwhile, this content is outdated and the judgement void.
    before = tables.content(connection, index.index_id)
    loaded = tables.ledger(connection, index)
    rows = tables.row_count(loaded)
    if not rows:
        raise ReleaseError(
            f"{index.collection} has no images to search: all were rejected. The `rejects` of "
            "each shard give the reasons; fix the images, then materialize `embeddings` again."
        )
    texts = queries.texts(objects, [shard.commit_path for shard in loaded.values()])
    images = queries.images(connection, index, QUERIES)
    if not images:
        raise ReleaseError(
            f"clip_assets.{tables.table_name(index.index_id)} has no rows, but {rows} were loaded. "
            "Materialize `search_index` again: it loads them from the embeddings."
        )
    graph = Graph(index.index_id, index.vectors, index.identity.dim, rows, ladder[0])
    evaluations = _evaluations(connection, index, texts, images)
    rungs = _climb(connection, graph, evaluations, wanted, ladder)
    shown = [replace(graph, ef_search=least) for least in SHOWN_ONLY if least < ladder[0]]
    graph = replace(graph, ef_search=rungs[-1].ef_search)
    captions = [query for query in texts if query.image_id]
    sizes = _sizes(connection, index)
    equal = _equal(connection, index)
    judgement = Judgement(
        content=before,
        wanted=wanted,
        ef_search=graph.ef_search,
        ladder=tuple(rungs),
        below=tuple(_rung(connection, one, evaluations) for one in shown),
        uses_index=any(index.hnsw in line for line in plan(connection, graph, images[0].vector, K)),
        damaged_shards=integrity.damaged_shards(connection, index),
        rows=rows,
        caption_recall=_caption_recall(connection, graph, captions),
        caption_queries=len(captions),
        table_bytes=sizes.table_bytes,
        hnsw_bytes=sizes.hnsw_bytes,
        equal_vectors=equal.rows,
        most_equal=equal.most,
        overlap=overlap.overlap(connection, objects, index.collection, graph, [*texts, *images]),
        people=people.people(connection, index, graph),
    )
    connection.execute(
        statement("write_judgement"),
        {"judgement": Jsonb(judgement.model_dump()), "index_id": index.index_id},
    )
    return judgement


def judge_outgrown(
    connection: psycopg.Connection, objects: Objects, index: Index, wanted: Wanted
) -> None:
    """Judge the live index that `index` will replace, if it changed since it was judged.

    It becomes the rollback target, and a rollback requires a current judgement. Does nothing if
    another model is live, if the live index is damaged, or if the files that it was loaded from are
    gone.
    """
    release = baseline_release(connection, index.collection, index.index_id)
    if release is None:
        return
    if (release.identity.key, release.vector_type) != (index.identity.key, index.vector_type):
        return
    outgrown = tables.by_id(connection, release.index_id)
    content = tables.content(connection, outgrown.index_id)
    if outgrown.judgement is None or outgrown.judgement["content"] != content:
        with suppress(StoreError, FileNotFoundError):
            judge(connection, objects, outgrown, wanted)


def _evaluations(
    connection: psycopg.Connection, index: Index, texts: list[Query], images: list[Query]
) -> dict[str, Evaluation]:
    step = max(1, len(texts) // QUERIES)
    kinds = {"text": texts[::step][:QUERIES], "image": images}
    return prepare(connection, index, kinds, [1.0, *SHARES])


def _climb(
    connection: psycopg.Connection,
    graph: Graph,
    evaluations: dict[str, Evaluation],
    wanted: Wanted,
    ladder: Sequence[int],
) -> list[Rung]:
    """Recall at each ef_search, up to the first that reaches the required recall."""
    rungs: list[Rung] = []
    for ef_search in ladder:
        graph = replace(graph, ef_search=ef_search)
        rung = _rung(connection, graph, evaluations)
        if rung.reaches_unfiltered(wanted.recall) or ef_search == ladder[-1]:
            rung = rung.model_copy(update={"filtered": _filtered(connection, graph, evaluations)})
            rungs.append(rung)
            if rung.reaches(wanted.recall):
                break
        else:
            rungs.append(rung)
    return rungs


def _rung(connection: psycopg.Connection, graph: Graph, evaluations: dict[str, Evaluation]) -> Rung:
    marks = {kind: take(connection, graph, evaluations[kind], 1.0) for kind in KINDS}
    return Rung(
        ef_search=graph.ef_search,
        text=marks["text"].recall,
        image=marks["image"].recall,
        latency=_latency([*marks.values()]),
    )


def _filtered(
    connection: psycopg.Connection, graph: Graph, evaluations: dict[str, Evaluation]
) -> tuple[FilteredRecall, ...]:
    found = []
    for share in SHARES:
        if share * graph.rows < K:
            continue
        compares = few_match(connection, graph, below(share))
        count = _COMPARE_QUERIES if compares else QUERIES
        recalls = {kind: take(connection, graph, evaluations[kind], share, count).recall
                   for kind in KINDS}  # fmt: skip
        plan = "exact" if compares else "hnsw"
        found.append(FilteredRecall(share=share, plan=plan, **recalls))
    return tuple(found)


def _latency(marks: list[Mark]) -> Latency | None:
    seconds = [second for mark in marks for second in mark.seconds]
    if not seconds:
        return None
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1000
    return Latency(p50_ms=round(p50, 2), p99_ms=round(p99, 2))


def _caption_recall(
    connection: psycopg.Connection, graph: Graph, captions: list[Query]
) -> float | None:
    if not captions:
        return None
    found = 0
    for query in captions:
        rows = nearest(connection, graph, query.vector, K).rows
        if query.image_id in {row.image_id for row in rows}:
            found += 1
        else:  # a copy of the image, at the same distance, may be found instead
            own = ties.distances(connection, graph, query.vector, [query.image_id or ""])
            found += ties.paired(own.values(), (1 - row.score for row in rows))
    return found / len(captions)


@dataclass(frozen=True)
class _Equal:
    rows: int
    most: int


def _equal(connection: psycopg.Connection, index: Index) -> _Equal:
    counting = statement("equal_vectors", table=index.table, send=index.vectors.send)
    found = connection.cursor(row_factory=class_row(_Equal)).execute(counting).fetchone()
    assert found is not None, "an aggregate gives a row"
    return found


@dataclass(frozen=True)
class _Sizes:
    table_bytes: int
    hnsw_bytes: int


def _sizes(connection: psycopg.Connection, index: Index) -> _Sizes:
    names = {
        "table": f"clip_assets.{tables.table_name(index.index_id)}",
        "hnsw": f"clip_assets.{index.hnsw}",
    }
    sizes = connection.cursor(row_factory=class_row(_Sizes))
    found = sizes.execute(statement("bytes"), names).fetchone()
    assert found is not None, "a SELECT of functions gives a row"
    return found
