"""Synthetic collections for the benchmarks: vectors distributed like CLIP's, and shards of them.

CLIP's vectors use few of their dimensions (the spectrum follows a power law) and lie in a narrow
cone; texts lie in another cone than images, which makes text queries harder.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clip_assets.index.spec import IndexSpec
from clip_assets.model import ModelIdentity, ModelSpec
from clip_assets.store import commit as commits
from clip_assets.store import parquet, paths
from clip_assets.store.commit import Commit, Part
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion

COLLECTION = "bench"
SPEC = ModelSpec(name="made-up", pretrained="none")
INDEX = IndexSpec(COLLECTION, SPEC)
_TOPICS = 500
_CHUNK = 50_000

Vectors = NDArray[np.float32]


def image_vectors(rows: int, dim: int, seed: int = 0) -> Vectors:
    """Unit vectors float32[rows, dim] of images."""
    made = np.empty((rows, dim), np.float32)
    for start in range(0, rows, _CHUNK):
        count = min(_CHUNK, rows - start)
        made[start : start + count] = _seen(_meanings(count, dim, (seed, start)), dim, cone=1)
    return made


def text_vectors(count: int, dim: int, seed: int = 1_000_000) -> Vectors:
    """Unit vectors float32[count, dim] of texts about the same topics as the images."""
    return _seen(_meanings(count, dim, (seed, 0)), dim, cone=2)


def _meanings(count: int, dim: int, seed: tuple[int, int]) -> Vectors:
    """float32[count, dim] around topics, with a decreasing spectrum."""
    spectrum = (np.arange(1, dim + 1, dtype=np.float32)) ** -0.5
    topics = np.random.default_rng(7).standard_normal((_TOPICS, dim), np.float32)
    noise = np.random.default_rng(seed)
    own = noise.standard_normal((count, dim), np.float32)
    return (topics[noise.integers(0, _TOPICS, count)] + own) * spectrum


def _seen(meanings: Vectors, dim: int, cone: int) -> Vectors:
    centre = np.random.default_rng(cone).standard_normal(dim, np.float32)
    spread = np.linalg.norm(meanings, axis=1).mean()
    vectors = meanings + centre * (spread / np.linalg.norm(centre))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def image_table(vectors: Vectors, first: int = 0, thumbnail_bytes: int = 0) -> pa.Table:
    """Rows as the node writes them, numbered from `first`; thumbnails are noise of this size."""
    rows, dim = vectors.shape
    ids = [f"folder/image-{number:09d}.jpg" for number in range(first, first + rows)]
    noise = np.random.default_rng(first).bytes(thumbnail_bytes * rows)
    thumbnails = [noise[n * thumbnail_bytes : (n + 1) * thumbnail_bytes] for n in range(rows)]
    columns = [
        ids, [f"s3://bucket/{name}" for name in ids], [f"caption of {name}" for name in ids],
        [hashlib.sha256(name.encode()).hexdigest() for name in ids],
        [640] * rows, [480] * rows, thumbnails,
        parquet.vector_column(vectors),
    ]  # fmt: skip
    schema = parquet.embeddings(dim)
    return pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema)


def identity(dim: int) -> ModelIdentity:
    return ModelIdentity(
        name=SPEC.name, pretrained="none", weights="a" * 64, preprocess="p", dim=dim
    )


@dataclass(frozen=True)
class Shards:
    """Writes committed shards of synthetic rows into a folder."""

    objects: Objects
    dim: int

    @property
    def identity(self) -> ModelIdentity:
        return identity(self.dim)

    def add(self, number: int, parts: list[pa.Table], texts: Vectors | None = None) -> Commit:
        """Commit a shard; `texts`, float32[n, dim], are the text queries that judge its index."""
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        at = ShardVersion(f"{number:05d}", 1, digest)
        files = [self._put(paths.part(SPEC.slug, at, n), table) for n, table in enumerate(parts)]
        asked = [] if texts is None else [f"text {number}" for number in range(len(texts))]
        vectors = np.empty((0, self.dim), np.float32) if texts is None else texts
        columns = [pa.nulls(len(asked), pa.string()), asked, parquet.vector_column(vectors)]
        written = pa.table(columns, schema=parquet.queries(self.dim))
        made = Commit(
            collection=COLLECTION, shard=at.shard, version=1, catalog_digest=digest,
            identity=self.identity, parts=tuple(files),
            rejects=self._put(paths.rejects(SPEC.slug, at), parquet.REJECTS.empty_table()),
            queries=self._put(paths.queries(SPEC.slug, at), written),
            rows=sum(part.rows for part in files), rejected=0, run_id="bench", job_id="bench",
            code_version="1", device="cpu", precision="fp32", mean=tuple([0.0] * self.dim),
        )  # fmt: skip
        return commits.write(self.objects, SPEC.slug, made)

    def _put(self, path: str, table: pa.Table) -> Part:
        data = parquet.to_bytes(table)
        self.objects.put(path, data)
        sha256 = hashlib.sha256(data).hexdigest()
        return Part(path=path, rows=len(table), bytes=len(data), sha256=sha256)
