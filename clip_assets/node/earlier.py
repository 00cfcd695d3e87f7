"""The rows of a shard's earlier commit, so that only what changed in a new version is computed."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clip_assets import catalog
from clip_assets.catalog import Shard
from clip_assets.column import Column
from clip_assets.errors import StoreError
from clip_assets.model import ModelIdentity
from clip_assets.node.columns import known, of_file
from clip_assets.node.job import CODE_VERSION
from clip_assets.source import ImageRef
from clip_assets.store import commit as commits
from clip_assets.store import parquet
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects

_Place = tuple[str, str, int | None, int | None, int | None]


class Earlier:
    """The rows of the commit at `path`, held in memory: about 80 MB for 10,000 images.

    If it lacks a column that comes from the files themselves, the files are read again.
    """

    def __init__(
        self, objects: Objects, path: str, commit: Commit, columns: Mapping[str, Column]
    ) -> None:
        self.path = path
        self._rows = pa.concat_tables(commits.read_part(objects, part) for part in commit.parts)
        row_of = {name: row for row, name in enumerate(self._column("image_id"))}
        self._by_hash = {sha256: row for row, sha256 in enumerate(self._column("sha256"))}
        self._columns = columns
        self._by_place = (
            {}
            if _lacks_exif(self._rows.schema, columns)
            else {
                (ref.image_id, _place(ref)): row_of[ref.image_id]
                for ref in _listed(objects, commit)
                if ref.image_id in row_of and ref.etag
            }
        )

    def row_of(self, ref: ImageRef) -> int | None:
        """The row of an image whose address and version tag are unchanged."""
        return self._by_place.get((ref.image_id, _place(ref)))

    def row_of_content(self, sha256: str) -> int | None:
        """The row of any image with these bytes."""
        return self._by_hash.get(sha256)

    def sha256(self, row: int) -> str:
        return str(self._rows.column("sha256")[row].as_py())

    def take(
        self,
        rows: Sequence[int],
        refs: Sequence[ImageRef],
        schema: pa.Schema,
        exif: Mapping[str, Mapping[str, Any]],
    ) -> pa.Table:
        """These rows, with the images' current names, addresses, captions and column values.

        `exif` has the tags of the files that were read, by image id.
        """
        taken = self._rows.take(pa.array(rows, pa.int64()))
        values_of_refs = [known(self._columns, ref, exif.get(ref.image_id, {})) for ref in refs]
        columns = []
        for field in schema:
            if field.name in ("image_id", "uri", "caption"):
                values = [getattr(ref, field.name) for ref in refs]
            elif field.name not in self._columns:
                columns.append(taken.column(field.name).cast(field.type))
                continue
            else:
                values = [row[field.name] for row in values_of_refs]
                if of_file(self._columns[field.name]) and field.name in taken.column_names:
                    before = taken.column(field.name).to_pylist()
                    values = [
                        value if ref.image_id in exif else old
                        for ref, value, old in zip(refs, values, before, strict=True)
                    ]
            columns.append(pa.array(values, field.type))
        return pa.table(columns, schema=schema)

    def _column(self, name: str) -> list[str]:
        values: list[str] = self._rows.column(name).to_pylist()
        return values


def earlier(  # noqa: PLR0913 - what the rows must agree with
    objects: Objects,
    slug: str,
    shard: str,
    identity: ModelIdentity,
    code_version: str,
    *,
    columns: Mapping[str, Column],
) -> Earlier | None:
    """The newest commit of the shard, if its rows are what this program would compute."""
    path = commits.newest_of(objects, slug, shard)
    if path is None:
        return None
    try:
        commit = commits.read_path(objects, path)
        if (commit.identity.key, commit.code_version) != (identity.key, code_version):
            return None
        return Earlier(objects, path, commit, columns)
    except (StoreError, FileNotFoundError):  # damaged, or erased meanwhile: compute everything
        return None


def same_images(objects: Objects, slug: str, shard: Shard, columns: Mapping[str, Column]) -> bool:
    """Whether only captions or columns differ from the shard's newest commit.

    Then no image is read, and none goes through the model.
    """
    path = commits.newest_of(objects, slug, shard.shard)
    if path is None or shard.renewed:
        return False
    try:
        commit = commits.read_path(objects, path)
        if commit.code_version != CODE_VERSION or commit.unreadable or not commit.parts:
            return False
        if any(map(of_file, columns.values())):
            with commits.part_on_disk(objects, commit.parts[0]) as part:
                if _lacks_exif(pq.read_schema(part), columns):
                    return False
    except (StoreError, FileNotFoundError):
        return False
    before = {ref.image_id: _place(ref) for ref in _listed(objects, commit) if ref.etag}
    refs = catalog.live_refs(catalog.read_shard(objects, shard.at))
    return all(ref.fault or before.get(ref.image_id) == _place(ref) for ref in refs)


def _lacks_exif(schema: pa.Schema, columns: Mapping[str, Column]) -> bool:
    """Whether a part lacks a column that comes from the files themselves."""
    return any(
        of_file(column) and not _is_of(schema, name, column) for name, column in columns.items()
    )


def _is_of(schema: pa.Schema, name: str, column: Column) -> bool:
    if name not in schema.names:
        return False
    field = schema.field(name)
    origin = (field.metadata or {}).get(parquet.FROM, b"").decode()
    return (field.type, origin) == (parquet.ARROW_TYPES[column.type], column.origin)


def _listed(objects: Objects, commit: Commit) -> list[ImageRef]:
    try:
        return catalog.live_refs(catalog.read_shard(objects, commit.at._replace(attempt=0)))
    except FileNotFoundError:
        return []


def _place(ref: ImageRef) -> _Place:
    return ref.uri, ref.etag, ref.offset, ref.size, ref.row
