"""Commits of made-up vectors, written as the node writes them, for all that no model decides.

It imports no torch, so that the processes which load shards start at once.
"""

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from clip_assets.column import Columns
from clip_assets.index import build, load, tables
from clip_assets.index.spec import IndexSpec
from clip_assets.index.tables import Index
from clip_assets.index.vector_type import VectorType
from clip_assets.judge import judge
from clip_assets.judge.judgement import Wanted
from clip_assets.model import ModelIdentity, ModelSpec
from clip_assets.release import release
from clip_assets.search.search import Release
from clip_assets.store import commit as commits
from clip_assets.store import parquet, paths
from clip_assets.store.commit import Commit, Part
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion

COLLECTION = "photos"
DIM = 32
TEXTS_PER_SHARD = 30

both_types = pytest.mark.parametrize("vector_type", VectorType)
"""For tests whose fixtures shall store the vectors as each type, one after the other."""


@dataclass(frozen=True)
class Model:
    """A model that exists by name only; its vectors are made up."""

    name: str = "made-up"
    dim: int = DIM
    weights: str = "a" * 64

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(name=self.name, pretrained="none")

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(
            name=self.name, pretrained="none", weights=self.weights, preprocess="p", dim=self.dim
        )


@dataclass(frozen=True)
class Made:
    """A collection of made-up vectors that stand in clusters, as CLIP's do."""

    objects: Objects
    model: Model = Model()
    vector_type: VectorType = VectorType.HALFVEC
    columns: Columns = field(default_factory=dict)

    @property
    def asked(self) -> IndexSpec:
        return IndexSpec(COLLECTION, self.model.spec, self.vector_type)

    @property
    def shards(self) -> list[str]:
        return sorted(commits.newest(self.objects, self.model.spec.slug))

    @property
    def current(self) -> list[ShardVersion]:
        """The versions that a catalog of these shards would name."""
        newest = commits.newest(self.objects, self.model.spec.slug)
        return [commits.read_path(self.objects, path).at for path in newest.values()]

    def add(
        self,
        shard: str,
        rows: int = 50,
        *,
        version: int = 1,
        seed: int | None = None,
        table: pa.Table | None = None,
    ) -> Commit:
        """Commit one version of a shard, in two parts; `table` gives its rows, else made up."""
        number = int(shard) * 1000 + version if seed is None else seed
        table = image_table(shard, rows, number, self.model.dim) if table is None else table
        slug = self.model.spec.slug
        at = ShardVersion(shard, version, hashlib.sha256(f"{shard} {number}".encode()).hexdigest())
        half = -(-len(table) // 2)
        pieces = [table.slice(0, half), table.slice(half)]
        parts = [self._put(paths.part(slug, at, n), piece) for n, piece in enumerate(pieces)]
        texts = text_table(table, number, self.model.dim)
        made = Commit(
            collection=COLLECTION,
            shard=shard,
            version=version,
            catalog_digest=at.digest,
            identity=self.model.identity,
            parts=tuple(parts),
            rejects=self._put(paths.rejects(slug, at), parquet.REJECTS.empty_table()),
            queries=self._put(paths.queries(slug, at), texts),
            rows=len(table),
            rejected=0,
            run_id=f"run-of-{shard}-v{version}",
            job_id="job-1",
            code_version="1",
            device="cpu",
            precision="fp32",
            mean=tuple([0.0] * self.model.dim),
        )
        return commits.write(self.objects, slug, made)

    def rows(self) -> pa.Table:
        """All rows of the newest commits, in the order of shards."""
        slug = self.model.spec.slug
        found = [
            commits.read_path(self.objects, p) for p in commits.newest(self.objects, slug).values()
        ]
        return pa.concat_tables(
            [commits.read_part(self.objects, part) for one in found for part in one.parts]
        )

    def _put(self, path: str, table: pa.Table) -> Part:
        data = parquet.to_bytes(table)
        self.objects.put(path, data)
        digest = hashlib.sha256(data).hexdigest()
        return Part(path=path, rows=len(table), bytes=len(data), sha256=digest)


def clustered(rows: int, seed: int, dim: int = DIM) -> NDArray[np.float32]:
    """Unit vectors float32[rows, dim] around twenty centres that all seeds share."""
    centres = np.random.default_rng(0).normal(size=(20, dim))
    noise = np.random.default_rng(seed)
    vectors = centres[noise.integers(0, 20, rows)] + 0.6 * noise.normal(size=(rows, dim))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(unit, np.float32)


def image_table(shard: str, rows: int, seed: int, dim: int = DIM) -> pa.Table:
    """Rows as the node writes them; ids depend on the shard, contents on the seed."""
    ids = [f"{shard}-{row:04d}.jpg" for row in range(rows)]
    return table_of(
        ids,
        [f"caption {row} of {seed}" if row % 3 else None for row in range(rows)],
        clustered(rows, seed, dim),
        salt=str(seed),
    )


def table_of(
    ids: Sequence[str],
    captions: Sequence[str | None],
    vectors: NDArray[np.float32],
    salt: str = "",
) -> pa.Table:
    hashes = [hashlib.sha256(f"{name}{salt}".encode()).hexdigest() for name in ids]
    columns = [
        pa.array(ids, pa.string()),
        pa.array([f"/pictures/{name}" for name in ids], pa.string()),
        pa.array(captions, pa.string()),
        pa.array(hashes, pa.string()),
        pa.array([40 + n for n in range(len(ids))], pa.int32()),
        pa.array([30] * len(ids), pa.int32()),
        pa.array([f"webp of {digest}".encode() for digest in hashes], pa.binary()),
        _vectors(vectors),
    ]
    return pa.table(columns, schema=parquet.embeddings(vectors.shape[1]))


def text_table(images: pa.Table, seed: int, dim: int) -> pa.Table:
    """Text queries: vectors of their own, some of them captions of the images."""
    ids = images.column("image_id").to_pylist()[:TEXTS_PER_SHARD]
    vectors = clustered(len(ids), seed + 500_000, dim)
    columns = [pa.array(ids, pa.string()), pa.array(ids, pa.string()), _vectors(vectors)]
    return pa.table(columns, schema=parquet.queries(dim))


def _vectors(vectors: NDArray[np.float32]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


def load_all(address: str, made: Made) -> load.Reconciled:
    with psycopg.connect(address, autocommit=True) as connection:
        return reconcile(connection, made)


def reconcile(connection: psycopg.Connection, made: Made) -> load.Reconciled:
    return load.reconcile(connection, made.objects, made.asked, made.current, made.columns)


def build_and_judge(connection: psycopg.Connection, made: Made, wanted: float = 0.9) -> Index:
    """The index loaded, built and judged, as the asset does it."""
    index = reconcile(connection, made).index
    build.build(connection, index, 1000)
    judge.judge(connection, made.objects, index, Wanted(recall=wanted))
    return find(connection, made)


def find(connection: psycopg.Connection, made: Made) -> Index:
    return tables.find(connection, COLLECTION, made.model.spec.slug, made.vector_type)


def publish(connection: psycopg.Connection, made: Made) -> Release:
    """The whole way to a live release."""
    live, _ = release.publish(connection, build_and_judge(connection, made), "run-release")
    return live


@contextmanager
def reader(database: str, index: Index, allowed: set[int]) -> Iterator[list[int]]:
    """Counts the rows of every shard over and over; fails if a count is not one of `allowed`."""
    done = threading.Event()
    counts: list[int] = []
    count = (
        "SELECT l.shard, count(t.shard) FROM clip_assets.ledger AS l "
        f"LEFT JOIN clip_assets.{tables.table_name(index.index_id)} AS t USING (shard) GROUP BY 1 "
        f"UNION SELECT shard, count(*) FROM clip_assets.{tables.table_name(index.index_id)} "
        "GROUP BY 1"
    )

    def read() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            while not done.is_set():
                counts.extend(rows for _, rows in connection.execute(count))
                time.sleep(0.01)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield counts
    finally:
        done.set()
        thread.join()
    assert set(counts) <= allowed


def fingerprint(
    connection: psycopg.Connection, index: Index
) -> tuple[str, list[tuple[object, ...]]]:
    """A hash of the table with its thumbnails, and the ledger without its times: equal if the
    contents are."""
    digest = connection.execute(
        "SELECT md5(string_agg(t::text || coalesce(md5(webp), ''), '\n' ORDER BY shard, row)) "
        f"FROM clip_assets.{tables.table_name(index.index_id)} AS t "
        "LEFT JOIN clip_assets.thumbnail USING (sha256)"
    ).fetchone()
    rows = connection.execute(
        "SELECT shard, version, digest, commit_path, rows, rejected, checksum, run_id, job_id, "
        "device "
        "FROM clip_assets.ledger WHERE index_id = %s ORDER BY shard",
        [index.index_id],
    ).fetchall()
    assert digest
    return digest[0], rows


def exact(table: pa.Table, query: NDArray[np.float32], k: int) -> list[str]:
    """Ids of the k nearest by brute force over the parquet's own vectors."""
    scores = matrix(table) @ query
    ids = table.column("image_id").to_pylist()
    return [ids[row] for row in np.argsort(-scores, kind="stable")[:k]]


def matrix(table: pa.Table) -> NDArray[np.float32]:
    column = table.column("embedding").combine_chunks()
    values: NDArray[np.float32] = column.flatten().to_numpy().reshape(len(table), -1)
    return values
