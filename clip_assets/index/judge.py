"""Judge an index before anyone may read it: recall against exact search, and the plan.

Text and image queries are judged apart, because an index can be good at one and poor at the
other. The smallest ef_search that reaches the wanted recall for both is kept with the judgement.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from clip_assets.errors import ReleaseError
from clip_assets.index import tables
from clip_assets.index.judgement import Judgement, Rung, Wanted
from clip_assets.index.search import literal, tune
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index
from clip_assets.quality.recall import recall_at_k
from clip_assets.store import commit as commits
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects

EF_SEARCH_LADDER = (40, 64, 100, 160, 256, 400, 640, 1000)
"""pgvector's default first, its maximum last."""

K = 10
QUERIES = 300
_QUERY_SHARDS = 50


def content(connection: psycopg.Connection, index: Index) -> str:
    """sha256 over the ledger: changes when any loaded shard does."""
    rows = tables.ledger(connection, index)
    text = "\n".join(f"{shard} {digest}" for shard, (_, digest, _) in rows.items())
    return hashlib.sha256(text.encode()).hexdigest()


def judge(
    connection: psycopg.Connection,
    objects: Objects,
    index: Index,
    wanted: Wanted,
    ladder: Sequence[int] = EF_SEARCH_LADDER,
) -> Judgement:
    """Measure, store beside the index, and return the judgement.

    Raises ReleaseError if there is not a single image to search.
    """
    before = content(connection, index)  # a shard loaded meanwhile makes the judgement void
    loaded = tables.ledger(connection, index)
    if not any(rows for _, _, rows in loaded.values()):
        raise ReleaseError(
            f"{index.collection} has no images to search: all were rejected. The `rejects` of "
            "each shard give the reasons; mend the images, then materialize `embeddings` again."
        )
    queries = _text_queries(objects, [path for path, _, _ in loaded.values()])
    rungs = _climb(connection, index, _probes(connection, index, queries), wanted.recall, ladder)
    captions = [query for query in queries if query.image_id]
    judgement = Judgement(
        content=before,
        wanted=wanted,
        ef_search=rungs[-1].ef_search,
        ladder=tuple(rungs),
        uses_index=_uses_index(connection, index, queries[0].vector),
        damaged_shards=_damaged_shards(connection, index),
        rows=sum(rows for _, _, rows in loaded.values()),
        caption_recall=_caption_recall(connection, index, captions, rungs[-1].ef_search),
        caption_queries=len(captions),
    )
    connection.execute(
        statement("write_judgement"),
        {"judgement": Jsonb(judgement.model_dump()), "index_id": index.index_id},
    )
    return judgement


@dataclass(frozen=True)
class _Query:
    """A vector as pgvector reads it; `image_id` is what a text describes, or the image itself."""

    image_id: str | None
    vector: str
    drop_itself: bool = False


@dataclass(frozen=True)
class _Near:
    """An image near a query."""

    image_id: str
    distance: float


@dataclass(frozen=True)
class _Probe:
    """A query with its exact nearest images."""

    query: _Query
    exact: list[_Near]

    @property
    def nearest(self) -> list[str]:
        return [near.image_id for near in self.exact]

    def recalled(self, found: list[_Near]) -> list[str]:
        """As many of the nearest as were found; of equally far images any counts for another.

        A collection with copies of an image has many right answers.
        """
        return self.nearest[: sum(near.distance <= self.exact[-1].distance for near in found)]


def _climb(
    connection: psycopg.Connection,
    index: Index,
    probes: dict[str, list[_Probe]],
    wanted: float,
    ladder: Sequence[int],
) -> list[Rung]:
    """Recall at each ef_search up to the first that reaches what is wanted."""
    rungs: list[Rung] = []
    for ef_search in ladder:
        recall = {
            kind: recall_at_k(
                [p.recalled(_nearest(connection, index, p.query, ef_search)) for p in some],
                [p.nearest for p in some],
                K,
            )
            for kind, some in probes.items()
        }
        rungs.append(Rung(ef_search=ef_search, text=recall["text"], image=recall["image"]))
        if rungs[-1].reaches(wanted):
            break
    return rungs


def _probes(
    connection: psycopg.Connection, index: Index, queries: list[_Query]
) -> dict[str, list[_Probe]]:
    step = max(1, len(queries) // QUERIES)
    images = connection.execute(
        statement("sample_vectors", table=index.table), {"count": QUERIES}
    ).fetchall()
    kinds = {
        "text": queries[::step][:QUERIES],
        "image": [_Query(name, vector, drop_itself=len(images) > 1) for name, vector in images],
    }
    return {
        kind: [_Probe(query, _nearest(connection, index, query, None)) for query in some]
        for kind, some in kinds.items()
    }


def _text_queries(objects: Objects, commit_paths: list[str]) -> list[_Query]:
    """The queries that came with the shards, from at most so many shards, evenly spread.

    Shards without captions all ask the same; the same query twice is not two witnesses.
    """
    step = max(1, len(commit_paths) // _QUERY_SHARDS)
    queries: list[_Query] = []
    for path in commit_paths[::step]:
        commit: Commit = commits.read_path(objects, path)
        rows = commits.read_part(objects, commit.queries).to_pylist()
        queries += [
            _Query(
                row["image_id"],
                literal(np.asarray(row["embedding"], np.float32), commit.identity.dim),
            )
            for row in rows
        ]
    return list(dict.fromkeys(queries))


def _nearest(
    connection: psycopg.Connection, index: Index, query: _Query, ef_search: int | None, k: int = K
) -> list[_Near]:
    """The k nearest images; None for `ef_search` means exact search."""
    with connection.transaction():
        if ef_search is None:
            connection.execute("SELECT set_config('enable_indexscan', 'off', true)")
        else:
            tune(connection, ef_search)
        rows = connection.execute(
            statement("nearest", table=index.table),
            {"vector": query.vector, "k": k + query.drop_itself},
        ).fetchall()
    found = [_Near(*row) for row in rows]
    return [n for n in found if not (query.drop_itself and n.image_id == query.image_id)][:k]


def _caption_recall(
    connection: psycopg.Connection, index: Index, captions: list[_Query], ef_search: int
) -> float | None:
    if not captions:
        return None
    found = sum(
        query.image_id in [near.image_id for near in _nearest(connection, index, query, ef_search)]
        for query in captions
    )
    return found / len(captions)


def _damaged_shards(connection: psycopg.Connection, index: Index) -> tuple[str, ...]:
    rows = connection.execute(
        statement("damaged_shards", table=index.table), {"index_id": index.index_id}
    ).fetchall()
    return tuple(shard for (shard,) in rows)


def _uses_index(connection: psycopg.Connection, index: Index, vector: str) -> bool:
    with connection.transaction():
        tune(connection, EF_SEARCH_LADDER[0])
        plan = connection.execute(
            sql.SQL("EXPLAIN (FORMAT TEXT) ") + statement("nearest", table=index.table),
            {"vector": vector, "k": K},
        ).fetchall()
    return any(index.hnsw in line for (line,) in plan)
