"""Checks of `embeddings`, on the partitions of the run that materialized them."""

import time
from collections.abc import Iterator

import dagster as dg

from clip_assets import catalog
from clip_assets.catalog import Catalog, Shard
from clip_assets.checks.oldest_shard import oldest_shard_check
from clip_assets.collection import Collection
from clip_assets.errors import StoreError
from clip_assets.resources import Installation
from clip_assets.store import commit as commits
from clip_assets.store import verified
from clip_assets.store.objects import Objects
from clip_assets.store.rejects import rejects_message, too_many
from clip_assets.verify.files import verify_shard


def embeddings_checks(collection: Collection) -> Iterator[dg.AssetChecksDefinition]:
    @dg.asset_check(
        asset=collection.embeddings_key,
        blocking=True,
        description="Rows plus rejects equal the catalog's images; files match the commit; "
        "each image occurs once; vectors are finite, of unit length and not all the same.",
    )
    def complete_and_sound(
        context: dg.AssetCheckExecutionContext, clip_assets_installation: Installation
    ) -> dg.AssetCheckResult:
        objects = clip_assets_installation.objects(collection.name)
        shards = _of_run(context, catalog.read(objects))
        faults = {shard.shard: fault_of(objects, collection.spec.slug, shard) for shard in shards}
        bad = {shard: text for shard, text in faults.items() if text}
        sound = {shard.shard for shard in shards} - bad.keys()
        _record_verified(objects, collection.spec.slug, sound)
        return dg.AssetCheckResult(
            passed=not bad and bool(shards),
            description=_joined(bad) or f"{len(shards)} shards were read and match their commits.",
            metadata={"shards": len(shards), "faults": dg.MetadataValue.json(bad)},
        )

    # Not blocking: the sound images are published, and deleted images leave search results.
    @dg.asset_check(
        asset=collection.embeddings_key,
        description="No shard rejects more than one image and more than max_reject_share of its "
        "images; every image could be read.",
    )
    def few_rejects(
        context: dg.AssetCheckExecutionContext, clip_assets_installation: Installation
    ) -> dg.AssetCheckResult:
        objects = clip_assets_installation.objects(collection.name)
        share = collection.max_reject_share
        found = [
            commit
            for shard in _of_run(context, catalog.read(objects))
            if (commit := commits.read(objects, collection.spec.slug, shard.at))
        ]
        bad = [commit for commit in found if too_many(commit, share)]
        unread = [commit for commit in found if commit.unreadable]
        messages = {one.shard: rejects_message(objects, one, share) for one in bad or unread}
        rejected = sum(commit.rejected for commit in found)
        return dg.AssetCheckResult(
            passed=not bad and not unread,
            severity=dg.AssetCheckSeverity.ERROR if bad else dg.AssetCheckSeverity.WARN,
            description=_joined(messages)
            or f"{rejected} images were rejected in {len(found)} shards.",
            metadata={
                "rejected": rejected,
                "unreadable": sum(commit.unreadable for commit in found),
                "shards": dg.MetadataValue.json(messages),
            },
        )

    yield complete_and_sound
    yield few_rejects
    yield oldest_shard_check(collection)


def fault_of(objects: Objects, slug: str, shard: Shard) -> str:
    """What is wrong with the shard's current version by this model; empty if it is sound."""
    try:
        commit = commits.read(objects, slug, shard.at)
    except StoreError as error:
        return str(error)
    if commit is None:
        return "not committed"
    if commit.rows + commit.rejected != shard.live:
        return f"{commit.rows} rows and {commit.rejected} rejects of {shard.live} images"
    found = verify_shard(objects, slug, shard.shard, commits.path_of(slug, commit))
    return " ".join(fault.sentence for fault in found.faults)


def _record_verified(objects: Objects, slug: str, sound: set[str]) -> None:
    """Record the time, so that the daily verification takes other shards first."""
    newest = commits.newest(objects, slug)
    known = [path for shard, path in newest.items() if shard in sound]
    verified.record(objects, slug, known, time.time(), newest)


def _of_run(context: dg.AssetCheckExecutionContext, head: Catalog | None) -> tuple[Shard, ...]:
    shards = head.shards if head else ()
    if context.has_partition_key or context.has_partition_key_range:
        keys = set(context.partition_keys)
        return tuple(shard for shard in shards if shard.shard in keys)
    return shards


def _joined(messages: dict[str, str]) -> str:
    return "; ".join(f"shard {shard}: {text}" for shard, text in list(messages.items())[:5])
