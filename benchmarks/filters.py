"""Recall and processor time of searches with built-in filters and with filters on declared columns.

    .venv/bin/python -m benchmarks.filters --rows 20000 --dim 128

For each share, the same images match every filter: by width, by a declared column, and by either in
SQL's `search_where`. Recall@10 is measured against exact search over the matching images. All
searches use the product's own code, which chooses the plan.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import psycopg
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks import clock, made_up
from benchmarks.made_up import COLLECTION, INDEX, Shards, Vectors
from clip_assets.column import ColumnType
from clip_assets.erasure import drop
from clip_assets.index import build, load, tables
from clip_assets.judge import judge
from clip_assets.judge.judgement import Wanted
from clip_assets.postgres.connect import connect_owner
from clip_assets.release import release
from clip_assets.search import search
from clip_assets.search.filters import Filter
from clip_assets.search.nearest import few_match
from clip_assets.search.search import Release
from clip_assets.settings import Settings
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects

K = 10
SHARES = (0.5, 0.1, 0.01, 0.001)
COLUMNS = {"rank": ColumnType.BIGINT}
_WIDEST = 100_000
Search = Callable[[NDArray[np.float32]], list[str]]


@dataclass(frozen=True)
class Images:
    """Vectors float32[rows, dim]; `widths`, int[rows], are spread evenly up to the widest."""

    vectors: Vectors
    widths: NDArray[np.int64]

    def passing(self, share: float) -> NDArray[np.int64]:
        """The rows of this share of the images."""
        return np.flatnonzero(self.widths > _WIDEST * (1 - share))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--queries", type=int, default=100)
    given = parser.parse_args()
    widths = np.random.default_rng(5).permutation(given.rows) * _WIDEST // given.rows + 1
    images = Images(made_up.image_vectors(given.rows, given.dim), widths)
    queries = made_up.text_vectors(given.queries, given.dim)
    with tempfile.TemporaryDirectory() as folder, connect_owner(Settings()) as connection:
        objects = Objects(f"{folder}/data")
        live = publish(connection, objects, images)
        print(f"{given.rows:,} images, ef_search {live.ef_search}")
        print(f"{'passing':>8}  {'filter on':<33}{'plan':<8}{'recall@10':>10}{'CPU ms':>8}")
        for share in SHARES:
            passing = images.passing(share)
            right = [exact(images, passing, query) for query in queries]
            for name, only, ask in doors(connection, live, share):
                few = few_match(connection, live.graph, only.predicate(live.columns))
                report(connection, share, name, "exact" if few else "HNSW", ask, queries, right)
        had = drop.belongings(connection, objects, COLLECTION)
        drop.drop(connection, objects, Objects(f"{folder}/receipts"), had)


def publish(connection: psycopg.Connection, objects: Objects, images: Images) -> Release:
    """A live release of the images in one shard, loaded, built and judged as the assets do it."""
    table = made_up.image_table(images.vectors)
    place = table.schema.get_field_index("width")
    table = table.set_column(place, "width", pa.array(images.widths, pa.int32()))
    table = table.append_column("rank", pa.array(_WIDEST - images.widths))
    dim = images.vectors.shape[1]
    Shards(objects, dim).add(0, [table], made_up.text_vectors(100, dim, seed=3))
    newest = commits.newest(objects, INDEX.model.slug).values()
    current = [commits.read_path(objects, path).at for path in newest]
    index = load.reconcile(connection, objects, INDEX, current, COLUMNS).index
    build.build(connection, index, len(table))
    judge.judge(connection, objects, index, Wanted(recall=0.9))
    judged = tables.find(connection, COLLECTION, INDEX.model.slug, INDEX.vector_type)
    live, _ = release.publish(connection, judged, "bench")
    return live


def doors(
    connection: psycopg.Connection, live: Release, share: float
) -> Iterator[tuple[str, Filter, Search]]:
    """The filter's subject, the filter, and a search for the ids of the nearest images."""
    wide = {"min_width": round(_WIDEST * (1 - share)) + 1}
    ranked = {"columns": {"rank": {"max": round(_WIDEST * share) - 1}}}
    for name, tree in (("width", wide), ("a declared column", ranked)):
        only = Filter.model_validate(tree)
        yield name, only, partial(_by_search, connection, live, only)
        yield f"{name}, search_where", only, partial(_by_sql, connection, json.dumps(tree))


def _by_search(
    connection: psycopg.Connection, live: Release, only: Filter, query: NDArray[np.float32]
) -> list[str]:
    return [hit.image_id for hit in search.search(connection, live, query, K, only).hits]


def _by_sql(connection: psycopg.Connection, tree: str, query: NDArray[np.float32]) -> list[str]:
    statement = f"SELECT image_id FROM {COLLECTION}.search_where(%s::halfvec, %s::jsonb, {K})"
    rows = connection.execute(statement.encode(), [str(query.tolist()), tree]).fetchall()
    return [name for (name,) in rows]


def exact(images: Images, passing: NDArray[np.int64], query: NDArray[np.float32]) -> set[str]:
    scores = images.vectors[passing] @ query
    nearest = passing[np.argsort(-scores)[:K]]
    return {f"folder/image-{row:09d}.jpg" for row in nearest}


def report(  # noqa: PLR0913, PLR0917 - one line of the table
    connection: psycopg.Connection,
    share: float,
    name: str,
    plan: str,
    ask: Search,
    queries: Vectors,
    right: list[set[str]],
) -> None:
    before = clock.read(connection)
    found = [set(ask(query)) for query in queries]
    spent = (clock.read(connection) - before).processor * 1_000 / len(queries)
    hits = sum(len(one & other) for one, other in zip(found, right, strict=True))
    recall = hits / sum(map(len, right))
    print(f"{share:>8.1%}  {name:<33}{plan:<8}{recall:>10.4f}{spent:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
