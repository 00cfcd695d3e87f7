"""Erase images: from search results at once, then from every file; then write a receipt.

    request.json   written first, so that an interrupted run is known and its images stay away
    database       rows of every index and thumbnails, in one transaction
    files          a new version of each shard without the images, per model; then the catalog
    sweep          older versions and all existing snapshots, as listed in the journal
    receipt.json   written last

Every step is idempotent: run a killed erasure again to complete it.
"""

import getpass
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg
from pydantic import BaseModel, ConfigDict

from clip_assets import catalog
from clip_assets.catalog import Catalog, Shard
from clip_assets.erasure import files
from clip_assets.errors import StoreError
from clip_assets.index import erasure as database
from clip_assets.index import owner
from clip_assets.snapshot import manifest as snapshots
from clip_assets.store import commit as commits
from clip_assets.store import erased, paths
from clip_assets.store.commit import Commit
from clip_assets.store.erased import ErasedImage, Receipt, Request, RewrittenFile
from clip_assets.store.objects import Objects

Say = Callable[[str], None]


def erase(
    connection: psycopg.Connection,
    objects: Objects,
    image_ids: Sequence[str],
    reason: str,
    say: Say,
) -> list[Receipt]:
    """Erase these images and complete every interrupted erasure; returns the receipts.

    Also completes erasures whose request was lost with the files but which the database remembers.

    Raises StoreError if the catalog does not have an image, and DatabaseError if the index is made
    of other data, before anything changes.
    """
    if head := catalog.read(objects):
        owner.claim(connection, objects, head.collection)
        _recall(connection, objects, head.collection)
    waiting = erased.open_requests(objects)
    asked = set(image_ids)
    if asked and not any(asked == set(request.image_ids) for request in waiting):
        collection = _collection_with(connection, objects, asked)
        waiting.append(_ask(objects, collection, sorted(asked), reason))
    return [_Erasing(connection, objects, request, say).run() for request in waiting]


class _Journal(BaseModel):
    """What the receipt needs but cannot be read after files are removed."""

    model_config = ConfigDict(extra="forbid")

    answers_clear_at: datetime
    files: list[RewrittenFile] = []
    delete: list[str] = []


@dataclass
class _Erasing:
    """One erasure in progress."""

    connection: psycopg.Connection
    objects: Objects
    request: Request
    say: Say
    images: list[ErasedImage] = field(default_factory=list)

    def run(self) -> Receipt:
        collection, erasure = self.request.collection, self.request.erasure
        owner.claim(self.connection, self.objects, collection)
        database.erase(self.connection, collection, erasure, self.request.image_ids)
        clear_at = datetime.now(UTC)
        self.images = database.read(self.connection, collection, erasure)
        self.say(f"{len(self.images)} images removed from all search results")
        journal = self._journal() or self._rewrite(clear_at)
        for path in journal.delete:
            self.objects.delete(path)
        self.say(f"{len(journal.files)} files rewritten, {len(journal.delete)} removed")
        if any(path.startswith(snapshots.FOLDER) for path in journal.delete):
            self.say(
                "snapshots deleted: make a new one, then restart replicas that used an old one"
            )
        vacuumed = database.vacuum(self.connection, collection)
        self.say(f"vacuumed {', '.join(vacuumed)}")
        return self._receipt(journal, vacuumed)

    @property
    def _gone(self) -> set[str]:
        return {image.image_id for image in self.images}

    def _journal(self) -> _Journal | None:
        try:
            data = self.objects.get(erased.journal_path(self.request.erasure))
        except FileNotFoundError:
            return None
        return _Journal.model_validate_json(data)

    def _rewrite(self, clear_at: datetime) -> _Journal:
        """Write new versions of all shards that contain the images; list what becomes obsolete."""
        journal = _Journal(answers_clear_at=clear_at)

        def scrubbed(head: Catalog) -> Mapping[str, Shard]:
            changed = catalog.scrub(self.objects, head, self._gone)
            database.shut_out_loaders(self.connection, head.collection, [*changed])
            journal.files, journal.delete = [], []
            before = {shard.shard: shard for shard in head.shards}
            for slug in commits.slugs(self.objects):
                for key, now in changed.items():
                    self._rewrite_shard(slug, before[key], now, journal)
            journal.delete += self._old_catalogs(changed)
            return changed

        catalog.change(self.objects, self.request.collection, scrubbed)
        journal.delete += self._snapshots()
        path = erased.journal_path(self.request.erasure)
        self.objects.put(path, journal.model_dump_json(indent=1).encode())
        return journal

    def _rewrite_shard(self, slug: str, before: Shard, now: Shard, journal: _Journal) -> None:
        found = files.versions(self.objects, slug, now.shard)
        holding = [one for one in found if files.holds(self.objects, slug, one, self._gone)]
        keep = {now.at, *(one.at for one in found[-1:])}
        if holding:
            old, new = holding[-1], found[-1]
            if new == old:
                at = now.at if old.at == before.at else files.beside(old, self._gone)
                new = files.rewrite(self.objects, slug, old, at, self._gone)
            journal.files += files.differences(slug, old, new)
            self._move_ledger(slug, old, new)
            keep = {now.at, new.at}
        journal.delete += files.obsolete(self.objects, slug, now.shard, keep)

    def _move_ledger(self, slug: str, old: Commit, new: Commit) -> None:
        was, became = paths.commit(slug, old.at), paths.commit(slug, new.at)
        database.move_ledger(self.connection, self.request.collection, was, became, new)

    def _old_catalogs(self, changed: Mapping[str, Shard]) -> list[str]:
        """Older catalog files of the shards, which contain the images' URIs and captions."""
        current = {paths.catalog_shard(shard.at) for shard in changed.values()}
        return sorted(
            entry.path
            for key in changed
            for entry in self.objects.list(f"catalog/{key}")
            if entry.path not in current
        )

    def _snapshots(self) -> list[str]:
        """All snapshots beside the parquet, since all were made before now; the pointer first."""
        found = [entry.path for entry in self.objects.list(snapshots.FOLDER)]
        return sorted(found, key=lambda path: (not path.endswith(snapshots.LATEST), path))

    def _receipt(self, journal: _Journal, vacuumed: list[str]) -> Receipt:
        rows: dict[str, int] = {}
        for image in self.images:
            for index_id in image.indexes:
                rows[str(index_id)] = rows.get(str(index_id), 0) + 1
        receipt = Receipt(
            request=self.request,
            images=tuple(self.images),
            answers_clear_at=journal.answers_clear_at,
            files=tuple(journal.files),
            deleted=tuple(journal.delete),
            rows_deleted=rows,
            vacuumed=tuple(vacuumed),
            completed_at=datetime.now(UTC),
        )
        path = erased.receipt_path(self.request.erasure)
        if not self.objects.create(path, receipt.model_dump_json(indent=1).encode()):
            return Receipt.model_validate_json(self.objects.get(path))
        self.objects.delete(erased.journal_path(self.request.erasure))
        return receipt


def _recall(connection: psycopg.Connection, objects: Objects, collection: str) -> None:
    known = {request.erasure for request in erased.requests(objects)}
    for erasure, image_ids in database.remembered(connection, collection).items():
        if erasure not in known:
            _request(
                objects, erasure, collection, image_ids, "asked for before the files were lost"
            )


def _ask(objects: Objects, collection: str, image_ids: list[str], reason: str) -> Request:
    erasure = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    return _request(objects, erasure, collection, image_ids, reason)


def _request(
    objects: Objects, erasure: str, collection: str, image_ids: list[str], reason: str
) -> Request:
    request = Request(
        erasure=erasure,
        collection=collection,
        image_ids=tuple(image_ids),
        reason=reason,
        requested_by=getpass.getuser(),
        requested_at=datetime.now(UTC),
    )
    path = erased.request_path(request.erasure)
    objects.create(path, request.model_dump_json(indent=1).encode())
    return request


def _collection_with(connection: psycopg.Connection, objects: Objects, image_ids: set[str]) -> str:
    """The collection's name, after checking that it has all these images.

    The index answers in milliseconds; the catalog is read only for images the index lacks.
    """
    head = catalog.require(objects, objects.root)
    owner.claim(connection, objects, head.collection)
    unknown = image_ids - database.known(connection, head.collection, image_ids)
    if unknown:
        unknown -= _listed(objects, head, unknown)
    if unknown:
        raise StoreError(f"{head.collection} has no image {', '.join(sorted(unknown)[:5])}.")
    return head.collection


def _listed(objects: Objects, head: Catalog, image_ids: Iterable[str]) -> set[str]:
    wanted = set(image_ids)
    found: set[str] = set()
    for shard in head.shards:
        found |= wanted & set(catalog.read_shard(objects, shard.at).column("image_id").to_pylist())
    return found
