"""All steps of a verification except the sample of images, which needs the model."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg

from clip_assets.catalog import Catalog
from clip_assets.errors import ClipAssetsError
from clip_assets.processors import available
from clip_assets.source.open import open_source
from clip_assets.store import commit as commits
from clip_assets.store import paths
from clip_assets.store.erased import open_requests
from clip_assets.store.objects import Objects
from clip_assets.verify.files import identity_of, verify_shard
from clip_assets.verify.finding import Fault, Finding, Remedy, together
from clip_assets.verify.index import verify_indexes
from clip_assets.verify.listing import verify_catalog, verify_source

Step = Callable[[str, int, int], None]
"""Called with the name of the step, the amount done, and the total."""


@dataclass(frozen=True)
class Sample:
    """How many images to embed again, and the seed that chooses them."""

    count: int
    seed: int


def verify(
    objects: Objects, head: Catalog, connection: psycopg.Connection | None, step: Step
) -> Finding:
    """Compare the source with the catalog, the catalog with the files of every model, and the files
    with every index and the live release.

    Reads every file and every row once, and changes nothing. Pass None as connection if nothing was
    ever stored in the database.
    """
    listed = _catalog(objects, head, step)
    files = together(
        finding for slug in commits.slugs(objects) for finding in _files(objects, head, slug, step)
    )
    found = [listed, files]
    if connection:
        step("index", 0, 0)
        found += verify_indexes(connection, objects, head.collection)
    return together(found)


def _catalog(objects: Objects, head: Catalog, step: Step) -> Finding:
    done = iter(range(1, len(head.shards) + 1))
    total = len(head.shards)
    found = verify_catalog(objects, head, lambda: step("catalog", next(done), total))
    if found.faults:
        return found
    step("source", 0, 0)
    try:
        listing = verify_source(objects, head, open_source(head.source).list())
    except ClipAssetsError as error:
        listing = Finding(faults=(Fault("source", str(error), Remedy.SOURCE),))
    return together([found, listing])


def _files(objects: Objects, head: Catalog, slug: str, step: Step) -> Iterator[Finding]:
    newest = commits.newest(objects, slug)
    model = identity_of(objects, newest)
    if model is None:
        lost = f"None of its {len(newest)} commits can be read."
        yield Finding(faults=(Fault(slug, lost, Remedy.RESTORE),))
        return
    with ThreadPoolExecutor(available()) as pool:  # hashing and decoding release the GIL
        found = pool.map(
            lambda shard: verify_shard(objects, slug, shard, newest[shard], model), newest
        )
        for done, finding in enumerate(found, start=1):
            step(slug, done, len(newest))
            yield finding
    missing = [shard.shard for shard in head.shards if shard.shard not in newest]
    if missing:
        yield Finding(behind=(f"{slug}: {len(missing)} shards are not embedded yet.",))
    yield from _of_other_versions(objects, head, slug, newest)


def _of_other_versions(
    objects: Objects, head: Catalog, slug: str, newest: dict[str, str]
) -> Iterator[Finding]:
    """Shards whose newest commit is not of the catalog's version of them."""
    current = {shard.shard: shard.at for shard in head.shards}
    for shard, path in newest.items():
        where = f"{slug}, shard {shard}"
        if shard in current and paths.is_of(path, current[shard]):
            continue
        if shard in current and paths.age(path)[0] < current[shard].version:
            yield Finding(behind=(f"{where}: the catalog has a newer version.",))
        elif open_requests(objects):
            yield Finding(
                behind=(f"{where}: an erasure is incomplete; `clip-assets erase` completes it.",)
            )
        else:
            what = "The catalog is older than these embeddings and does not list them."
            yield Finding(faults=(Fault(where, what, Remedy.LIST),))


def sound_commits(
    objects: Objects, head: Catalog, slug: str, faults: tuple[Fault, ...]
) -> list[commits.Commit]:
    """The commits of the catalog's current versions that have no fault."""
    bad = {fault.shard for fault in faults}
    found = (
        commits.read(objects, slug, shard.at) for shard in head.shards if shard.shard not in bad
    )
    return [commit for commit in found if commit]
