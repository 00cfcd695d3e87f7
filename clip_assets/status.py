"""The progress of each collection: listed, embedded, indexed, released. Needs no Dagster."""

from dataclasses import dataclass

import psycopg

from clip_assets import catalog
from clip_assets.catalog import Catalog
from clip_assets.errors import DatabaseError, ReleaseError
from clip_assets.index import tables
from clip_assets.index.vector_type import VectorType
from clip_assets.search import search
from clip_assets.search.search import Release
from clip_assets.settings import Settings
from clip_assets.store import commit as commits
from clip_assets.store import paths
from clip_assets.store.objects import Objects, is_remote, local_path


@dataclass(frozen=True)
class ModelStatus:
    """Progress of one model in shards; `behind` lists the shards that are not embedded yet."""

    slug: str
    embedded: int
    behind: tuple[str, ...]
    indexed: int
    judged: bool
    live: bool


@dataclass(frozen=True)
class CollectionStatus:
    """One collection with its models and its live release."""

    catalog: Catalog
    models: tuple[ModelStatus, ...]
    release: Release | None

    @property
    def current(self) -> bool:
        """Whether all images in the catalog are embedded, indexed, judged and live."""
        return any(
            model.live and model.judged and not model.behind and model.indexed == model.embedded
            for model in self.models
        )


def missing_shards(objects: Objects, head: Catalog, slug: str) -> list[str]:
    """Keys of the shards whose current version is not committed."""
    newest = commits.newest(objects, slug)
    return [
        shard.shard
        for shard in head.shards
        if newest.get(shard.shard) != paths.commit(slug, shard.at)
    ]


def is_live(
    connection: psycopg.Connection, collection: str, slug: str, vector_type: VectorType
) -> bool:
    """Whether the model with this slug, stored as this type, is live for the collection.

    It also is if an older index of it is live, unless a newer index was live before: then somebody
    rolled that one back.
    """
    try:
        newest = tables.find(connection, collection, slug, vector_type)
        live = search.live(connection, collection)
    except (DatabaseError, ReleaseError):
        return False
    if live.index_id == newest.index_id:
        return True
    same = (live.identity.key, live.vector_type) == (newest.identity.key, newest.vector_type)
    return same and not tables.any_released(connection, newest, after=live.index_id)


def collection_status(
    connection: psycopg.Connection, objects: Objects, collection: str
) -> CollectionStatus | None:
    """Status of the collection, or None if it has no catalog yet."""
    head = catalog.read(objects)
    if head is None:
        return None
    try:
        release = search.live(connection, collection)
    except ReleaseError:
        release = None
    slugs = commits.slugs(objects)
    models = tuple(_model(connection, objects, head, slug, release) for slug in slugs)
    return CollectionStatus(head, models, release)


def collections(settings: Settings) -> list[str]:
    """Names of the collections that have a catalog under the data URI."""
    if is_remote(settings.data_uri):
        entries = Objects(settings.data_uri).list()
        names = {
            entry.path.split("/")[0] for entry in entries if entry.path.endswith(paths.CATALOG)
        }
        return sorted(names)
    folder = local_path(settings.data_uri)
    return sorted(path.parent.parent.name for path in folder.glob(f"*/{paths.CATALOG}"))


def _model(
    connection: psycopg.Connection,
    objects: Objects,
    head: Catalog,
    slug: str,
    release: Release | None,
) -> ModelStatus:
    behind = missing_shards(objects, head, slug)
    try:
        if release and release.spec.slug == slug:
            # If the model has several indexes, report the progress of the live one.
            index = tables.by_id(connection, release.index_id)
        else:
            index = tables.find(connection, head.collection, slug)
    except DatabaseError:
        return ModelStatus(slug, len(head.shards) - len(behind), tuple(behind), 0, False, False)
    newest = commits.newest(objects, slug)
    ledger = tables.ledger(connection, index)
    content = tables.content(connection, index.index_id)
    live = release is not None and release.index_id == index.index_id
    return ModelStatus(
        slug=slug,
        embedded=len(head.shards) - len(behind),
        behind=tuple(behind),
        indexed=sum(path == newest.get(shard) for shard, (path, _, _) in ledger.items()),
        judged=index.judgement is not None and index.judgement["content"] == content,
        live=live and release is not None and release.content == content,
    )
