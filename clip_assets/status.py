"""The progress of each collection: listed, embedded, indexed, released. Needs no Dagster."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import psycopg

from clip_assets import catalog
from clip_assets.catalog import Catalog, Shard
from clip_assets.errors import DatabaseError, ReleaseError
from clip_assets.index import integrity, tables
from clip_assets.index.tables import Index, LoadedShard
from clip_assets.index.vector_type import VectorType
from clip_assets.model import DECODE_VERSION
from clip_assets.release.release import missing_relations
from clip_assets.search import search
from clip_assets.search.search import Release
from clip_assets.settings import Settings
from clip_assets.store import commit as commits
from clip_assets.store import paths
from clip_assets.store.address import is_remote, local_path
from clip_assets.store.objects import Objects


@dataclass(frozen=True)
class ModelStatus:
    """Progress of one model in shards; `behind` lists the shards that are not embedded yet.

    `rejected` counts the images of the indexed shards that could not be embedded. `damage` says
    what the index has lost since it was loaded; None if no damage is visible. The next run reads
    `unreadable` images again.
    """

    slug: str
    embedded: int
    behind: tuple[str, ...]
    indexed: int
    judged: bool
    live: bool
    rejected: int = 0
    damage: str | None = None
    unreadable: int = 0


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
            model.live
            and model.judged
            and not model.behind
            and model.indexed == model.embedded
            and model.damage is None
            for model in self.models
        )


def missing_shards(objects: Objects, head: Catalog, slug: str) -> list[str]:
    """Keys of the shards whose current version is not committed, or lacks unreadable images."""
    newest = commits.newest(objects, slug)
    behind = {shard.shard for shard in _behind(newest, head)}
    return [
        shard.shard
        for shard in head.shards
        if shard.shard in behind or not paths.is_complete(newest[shard.shard])
    ]


def _behind(newest: Mapping[str, str], head: Catalog) -> list[Shard]:
    """The shards whose current version is not committed."""
    return [
        shard
        for shard in head.shards
        if shard.shard not in newest or not paths.is_of(newest[shard.shard], shard.at)
    ]


def is_live(
    connection: psycopg.Connection, collection: str, slug: str, vector_type: VectorType
) -> bool:
    """Whether the model with this slug, stored as this type, is live for the collection.

    Also true if an older index of the model is live, unless a newer index was live before: then
    somebody rolled the newer one back.
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


def left_behind(release: Release | None, collection: str, defined: Collection[str]) -> str | None:
    """A sentence if no new images can be embedded for the live release, which goes on answering.

    Either the collection's YAML does not define its model, or this version of clip_assets decodes
    images differently from the version that made it.
    """
    if release is None or not defined:
        return None
    made_by = release.identity.decode
    if release.spec.slug in defined and made_by not in (None, DECODE_VERSION):
        which = f" --model {release.spec.slug}" if len(defined) > 1 else ""
        return (
            f"{collection} answers from images of decode version {made_by}, and this version of "
            f"clip_assets has {DECODE_VERSION}: no new images are added, and uploads are refused. "
            f"Embed all again with `clip-assets backfill {collection}{which} --shards all "
            "--again`; until then, texts are answered."
        )
    if release.spec.slug in defined:
        return None
    which = f" --model {sorted(defined)[0]}" if len(defined) > 1 else ""
    return (
        f"{collection} answers with the model {release.spec.slug}, which no defs.yaml defines any "
        "more: new images are not embedded for it. Either restore its `model:`, or switch to "
        f"{' or '.join(sorted(defined))} with `clip-assets backfill {collection}{which}`."
    )


def live_release(connection: psycopg.Connection, collection: str) -> Release | None:
    """The live release, or None if nothing is live."""
    try:
        return search.live(connection, collection)
    except ReleaseError:
        return None


def collection_status(
    connection: psycopg.Connection | None, objects: Objects, collection: str
) -> CollectionStatus | None:
    """Status of the collection, or None if it has no catalog yet.

    Pass None as connection if nothing was ever stored in the database: then nothing is indexed or
    released.
    """
    head = catalog.read(objects)
    if head is None:
        return None
    release = live_release(connection, collection) if connection else None
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


def _unreadable(objects: Objects, newest: Mapping[str, str], head: Catalog) -> int:
    """How many images could not be read; only the commits of their shards are read."""
    listed = [newest[shard.shard] for shard in head.shards if shard.shard in newest]
    lacking = [path for path in listed if not paths.is_complete(path)]
    return sum(commits.read_path(objects, path).unreadable for path in lacking)


def _model(
    connection: psycopg.Connection | None,
    objects: Objects,
    head: Catalog,
    slug: str,
    release: Release | None,
) -> ModelStatus:
    newest = commits.newest(objects, slug)
    behind = [shard.shard for shard in _behind(newest, head)]
    index = _index(connection, head, slug, release) if connection else None
    embedded, unreadable = len(head.shards) - len(behind), _unreadable(objects, newest, head)
    if connection is None or index is None:
        return ModelStatus(slug, embedded, tuple(behind), 0, False, False, unreadable=unreadable)
    ledger = tables.ledger(connection, index)
    current = [shard for shard in head.shards if shard.shard not in behind]
    # From the ledger, because reading the commits would take one request to the bucket per shard.
    loaded = [s for s in current if s.shard in ledger and _is_loaded(ledger[s.shard], newest)]
    content = tables.content(connection, index.index_id)
    live = release is not None and release.index_id == index.index_id
    return ModelStatus(
        slug=slug,
        embedded=embedded,
        unreadable=unreadable,
        behind=tuple(behind),
        indexed=sum(_is_loaded(row, newest) for row in ledger.values()),
        judged=index.judgement is not None and index.judgement["content"] == content,
        live=live and release is not None and release.content == content,
        rejected=sum(shard.live - ledger[shard.shard].rows for shard in loaded),
        damage=_damage(connection, index, live=live),
    )


def _is_loaded(row: LoadedShard, newest: Mapping[str, str]) -> bool:
    return row.commit_path == newest.get(row.shard)


def _damage(connection: psycopg.Connection, index: Index, *, live: bool) -> str | None:
    """Only counts rows; a judgement compares the rows themselves."""
    built = live or index.judgement is not None
    damage = integrity.visible_damage(connection, index, built=built)
    missing = missing_relations(connection, index.collection) if live else []
    named = ", ".join(f"{index.collection}.{name}" for name in missing)
    words = [str(damage) if damage else "", f"{named} missing" if named else ""]
    return ", ".join(filter(None, words)) or None


def _index(
    connection: psycopg.Connection, head: Catalog, slug: str, release: Release | None
) -> Index | None:
    """The model's live index if it has one, or else its newest; it shows the model's progress."""
    if release and release.spec.slug == slug:
        return tables.by_id(connection, release.index_id)
    try:
        return tables.find(connection, head.collection, slug)
    except DatabaseError:
        return None
