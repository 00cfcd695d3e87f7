"""DuckDB over the parquet: views of the commits, and the model as SQL functions.

    SELECT image_id, score FROM search(clip_text('a photo of a cloud'), 10)

Search here is exact and uses all cores; it needs only the data URI. `attach_postgres` adds the
tables of a Postgres.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any

import duckdb

from clip_assets.errors import DamageError, SettingsError, StoreError
from clip_assets.home import expanded
from clip_assets.model import require_same
from clip_assets.processors import available
from clip_assets.settings import Settings
from clip_assets.status import collections
from clip_assets.store import commit as commits
from clip_assets.store import paths
from clip_assets.store.address import is_remote
from clip_assets.store.cloud import client_options
from clip_assets.store.commit import Commit
from clip_assets.store.local_files import read_file
from clip_assets.store.objects import Objects


class Lake:
    """The committed embeddings of one collection and model.

    Raises StoreError if nothing is committed under `slug`, or if its commits are of different
    models; SettingsError if there are several slugs and none is given.
    """

    def __init__(self, objects: Objects, slug: str | None = None) -> None:
        self._objects = objects
        self.slug = slug or _only_slug(objects)
        found = commits.newest(objects, self.slug)
        if not found:
            raise StoreError(f"{objects.root} has no embeddings by {self.slug}.")
        self._commits = [commits.read_path(objects, path) for path in found.values()]
        first, *others = self._commits
        for commit in others:
            require_same(
                commit.identity,
                first.identity,
                f"{objects.root}: the model of shard {commit.shard} differs from that of "
                f"{first.shard}",
                ", and materialize the shards of the other model again",
                StoreError,
            )

    @property
    def commits(self) -> list[Commit]:
        return self._commits

    @property
    def dim(self) -> int:
        return self._commits[0].identity.dim

    @cached_property
    def _encoder(self):  # type: ignore[no-untyped-def]  # torch is imported on first use
        from clip_assets.node.reload import encoder_of

        return encoder_of(self._objects, self._commits[0])

    def connect(self) -> duckdb.DuckDBPyConnection:
        """An in-memory database with `embeddings`, `rejects`, `commits` and the SQL functions."""
        self._require_whole()
        database = duckdb.connect(config={"threads": available()})
        if is_remote(self._objects.root):
            from obstore.fsspec import FsspecStore

            scheme: Any = self._objects.root.split("://", maxsplit=1)[0]
            database.register_filesystem(FsspecStore(scheme, client_options=client_options()))
        self._create_views(database)
        self._create_functions(database)
        return database

    def _require_whole(self) -> None:
        """Check that each committed file exists with its size: DuckDB verifies no checksums.

        Raises DamageError if not. `clip-assets verify` also compares the content.
        """
        files = [file for c in self._commits for file in (*c.parts, c.rejects)]
        listed = self._objects.list(paths.embeddings(self.slug))
        sizes = {entry.path: entry.size for entry in listed}
        for file in files:
            if sizes.get(file.path) != file.bytes:
                wrong = "has another size" if file.path in sizes else "is missing"
                raise DamageError(f"{self._objects.uri(file.path)} is committed but {wrong}.")

    def _create_views(self, database: duckdb.DuckDBPyConnection) -> None:
        database.execute(
            "CREATE TABLE commits (file VARCHAR, shard VARCHAR, version INT, run_id VARCHAR, "
            "job_id VARCHAR, device VARCHAR, model VARCHAR, rows INT, rejected INT)"
        )
        database.executemany(
            "INSERT INTO commits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                [self._objects.uri(part.path), c.shard, c.version, c.run_id, c.job_id, c.device,
                 c.identity.short, part.rows, c.rejected]
                for c in self._commits
                for part in c.parts
            ],
        )  # fmt: skip
        parts = self._files([part.path for c in self._commits for part in c.parts])
        rejects = self._files([c.rejects.path for c in self._commits])
        database.execute(  # _files quotes the names; no other part is user input
            f"CREATE VIEW embeddings AS SELECT p.* EXCLUDE (embedding, filename), "
            f"p.embedding::FLOAT[{self.dim}] AS embedding, "
            f"c.* EXCLUDE (file, rows, rejected) "
            f"FROM read_parquet({parts}, filename = true, union_by_name = true) AS p "
            f"JOIN commits AS c ON c.file = p.filename"
        )
        database.execute(
            f"CREATE VIEW rejects AS SELECT * FROM read_parquet({rejects}, union_by_name = true)"
        )

    def _create_functions(self, database: duckdb.DuckDBPyConnection) -> None:
        vector = f"FLOAT[{self.dim}]"
        database.create_function("clip_text", cache(self.clip_text), ["VARCHAR"], vector)
        database.create_function("clip_image", cache(self.clip_image), ["VARCHAR"], vector)
        database.execute(
            f"CREATE MACRO search(query, k := 10) AS TABLE "
            f"SELECT *, array_cosine_similarity(embedding, query::{vector}) AS score "
            f"FROM embeddings ORDER BY score DESC, image_id LIMIT k"
        )

    def clip_text(self, text: str) -> list[float]:
        """The text's unit vector, float[dim]."""
        vector: list[float] = self._encoder.encode_text([text])[0].tolist()
        return vector

    def clip_image(self, file: str) -> list[float]:
        """The unit vector, float[dim], of an image file on this machine."""
        from clip_assets.node.decode import PIPELINE, Rejected, decode
        from clip_assets.node.reload import require_same_images

        require_same_images(self._encoder, self._commits[0])
        try:
            data = read_file(expanded(file), PIPELINE.max_bytes)
            image = decode(data, enough=self._encoder.enough).image
        except (OSError, Rejected) as error:
            raise StoreError(f"{file} cannot be used as a query: {error}.") from error
        vector: list[float] = self._encoder.encode_images([image])[0].tolist()
        return vector

    def _files(self, names: list[str]) -> str:
        """The files as a DuckDB list literal."""
        quoted = ("'" + self._objects.uri(name).replace("'", "''") + "'" for name in names)
        return f"[{', '.join(quoted)}]"


@contextmanager
def open_lake(
    settings: Settings, collection: str | None = None, slug: str | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The database of a collection; None means the only collection."""
    with Lake(
        Objects(settings.collection_uri(collection or _only(settings))), slug
    ).connect() as db:
        yield db


def attach_postgres(database: duckdb.DuckDBPyConnection, address: str) -> None:
    """Make a Postgres' tables readable as `postgres.schema.table`.

    Raises SettingsError if DuckDB's `postgres` extension is not installed on this machine, or if
    the connection fails.
    """
    try:
        database.execute("SET autoinstall_known_extensions = false")  # no implicit download
        database.execute("LOAD postgres")
    except duckdb.Error as error:
        raise SettingsError(
            "DuckDB's `postgres` extension is not installed on this machine. With internet "
            "access, run once: python -c \"import duckdb; duckdb.sql('INSTALL postgres')\"."
        ) from error
    quoted = address.replace("'", "''")
    try:
        database.execute(f"ATTACH '{quoted}' AS postgres (TYPE postgres, READ_ONLY)")
    except duckdb.Error as error:  # its text quotes the address with its password
        raise SettingsError(
            "DuckDB cannot connect to Postgres. Check DATABASE_URL, or try it with psql."
        ) from error


def _only(settings: Settings) -> str:
    names = collections(settings)
    if len(names) != 1:
        raise SettingsError(
            f"{settings.data_uri} has {len(names)} collections ({', '.join(names) or 'none'}). "
            + ("Name one with --collection." if names else "Try `clip-assets demo`.")
        )
    return names[0]


def _only_slug(objects: Objects) -> str:
    slugs = commits.slugs(objects)
    if len(slugs) != 1:
        raise SettingsError(
            f"{objects.root} has embeddings by {len(slugs)} models ({', '.join(slugs) or 'none'}). "
            + ("Name one with --model." if slugs else "Materialize `embeddings` first.")
        )
    return slugs[0]
