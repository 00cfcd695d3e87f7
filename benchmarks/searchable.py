"""A database with a live release of synthetic vectors, for a service to search.

The model is a real open_clip architecture with random weights, which cost as much as trained ones.
"""

import numpy as np
import psycopg
from pgvector.psycopg import register_vector
from psycopg import sql
from psycopg.types.json import Jsonb

from benchmarks import made_up
from benchmarks.hnsw import K, as_searched, exact_nearest
from benchmarks.made_up import Vectors
from clip_assets.index import binary, build, tables
from clip_assets.index.hnsw import EF_SEARCH_LADDER
from clip_assets.index.spec import IndexSpec
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index
from clip_assets.model import ModelSpec
from clip_assets.node import encoder
from clip_assets.release.statements import statement as release_statement
from clip_assets.search import search

_SHARD = "00000"
_AT_ONCE = 1_000
_QUERIES = 100
RECALL = 0.95


def release(connection: psycopg.Connection, architecture: str, rows: int) -> None:
    """Load `rows` rows, build the graph and publish them as the collection `bench`, unless it is
    already live. Its ef_search is the smallest that reaches RECALL for texts."""
    spec = ModelSpec(name=architecture, untrained_seed=0)
    identity = encoder.load(spec, "cpu").identity
    for live in search.all_live(connection, made_up.COLLECTION):
        if live.identity.key == identity.key and live.rows == rows:
            return
    register_vector(connection)
    index = tables.ensure(connection, IndexSpec(made_up.COLLECTION, spec), identity)
    connection.execute(sql.SQL("DROP TABLE clip_assets.{}").format(index.table))
    tables.create_table(connection, index.index_id, identity.dim, index.vectors)
    vectors = made_up.image_vectors(rows, identity.dim)
    with connection.cursor().copy(
        statement("copy_rows", table=index.table, columns=sql.SQL(""))
    ) as copy:
        copy.write(binary.HEADER)
        for first in range(0, rows, _AT_ONCE):
            table = made_up.image_table(vectors[first : first + _AT_ONCE], first)
            for batch in table.to_batches():
                copy.write(binary.image_rows(_SHARD, first, batch, index.vector_type).data)
        copy.write(binary.TRAILER)
    loaded = {
        "index_id": index.index_id, "shard": _SHARD, "rows": rows, "version": 1, "rejected": 0,
        "checksum": 0,
        **dict.fromkeys(("digest", "commit_path", "run_id", "job_id", "device"), ""),
    }  # fmt: skip
    connection.execute(statement("write_ledger"), loaded)
    build.build(connection, index, rows, print, RECALL)
    released = {
        "collection": made_up.COLLECTION, "index_id": index.index_id, "content": "c" * 64,
        "ef_search": _ef_search(connection, index, vectors), "rows": rows,
        "judgement": Jsonb({}), "run_id": "bench", "replaced": None,
    }  # fmt: skip
    added = connection.execute(release_statement("add_release"), released).fetchone()
    assert added
    pointer = {"collection": made_up.COLLECTION, "release_id": added[0]}
    connection.execute(release_statement("point_at"), pointer)


def _ef_search(connection: psycopg.Connection, index: Index, vectors: Vectors) -> int:
    queries = made_up.text_vectors(_QUERIES, vectors.shape[1])
    exact = exact_nearest(vectors, queries)
    for ef in EF_SEARCH_LADDER:
        search = as_searched(connection, index, len(vectors), 0).search
        found = [len(set(search(q, ef)) & right) for q, right in zip(queries, exact, strict=True)]
        if np.mean(found) >= RECALL * K:
            break
    return ef
