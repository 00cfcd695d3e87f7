"""Once a day, verify the shards verified longest ago, and report when the oldest was verified.

This is a check because verifying produces nothing: with 10,000 shards, an asset would write
hundreds of materializations a day that say `unchanged`.
"""

import math
import time
from datetime import timedelta

import dagster as dg

from clip_assets.automation.conditions import check_condition
from clip_assets.collection import Collection
from clip_assets.resources import Installation
from clip_assets.store import commit as commits
from clip_assets.store import verified
from clip_assets.store.objects import Objects
from clip_assets.verify.files import verify_shard

_WARN_SHARE = 0.75
_DAY = timedelta(days=1).total_seconds()
# Two checks within the same night do not read the same files twice.
_LATELY = _DAY / 2
# A killed run loses the verification of at most this many shards.
_SAVE_EVERY = 50


def oldest_shard_check(collection: Collection) -> dg.AssetChecksDefinition:
    overdue = timedelta(days=collection.verify_within_days).total_seconds()

    @dg.asset_check(
        asset=collection.embeddings_key,
        description="Once a day, reads the files of the shards verified longest ago and compares "
        "them with their commits. Each shard must be verified every "
        f"{collection.verify_within_days} days; the check warns after {_WARN_SHARE:.0%} of that "
        "time. In a run of partitions it only reports.",
        automation_condition=check_condition(collection),
    )
    def oldest_shard(
        context: dg.AssetCheckExecutionContext, clip_assets_installation: Installation
    ) -> dg.AssetCheckResult:
        objects = clip_assets_installation.objects(collection.name)
        slug = collection.spec.slug
        newest = commits.newest(objects, slug)
        if not newest:
            return _failed("No shard is embedded.")
        if context.has_partition_key or context.has_partition_key_range:
            # `complete_and_sound` reads the files of this run's shards, perhaps at the same time.
            now = {newest.get(shard, ""): time.time() for shard in context.partition_keys}
            return _result(newest, verified.read(objects, slug) | now, {}, overdue)
        # Verify each shard twice per period, so that one missed night makes none overdue.
        share = math.ceil(2 * len(newest) / collection.verify_within_days)
        faults = _verify(objects, slug, newest, share)
        return _result(newest, verified.read(objects, slug), faults, overdue)

    return oldest_shard


def _verify(objects: Objects, slug: str, newest: dict[str, str], share: int) -> dict[str, str]:
    """Verify up to `share` shards, those verified longest ago first; returns faults by shard."""
    times, now = verified.read(objects, slug), time.time()
    due = sorted(newest, key=lambda shard: (times.get(newest[shard], 0), shard))[:share]
    due = [shard for shard in due if times.get(newest[shard], 0) < now - _LATELY]
    faults: dict[str, str] = {}
    sound: list[str] = []
    for number, shard in enumerate(due, start=1):
        found = verify_shard(objects, slug, shard, newest[shard]).faults
        if found:
            faults[shard] = " ".join(fault.sentence for fault in found)
        else:
            sound.append(newest[shard])
        if number % _SAVE_EVERY == 0 or number == len(due):
            verified.record(objects, slug, sound, now, newest)
    return faults


def _result(
    newest: dict[str, str], times: dict[str, float], faults: dict[str, str], overdue: float
) -> dg.AssetCheckResult:
    never = [shard for shard, path in newest.items() if path not in times and shard not in faults]
    known = {shard: times[path] for shard, path in newest.items() if path in times}
    oldest = min(known, key=lambda shard: known[shard], default=None)
    # A machine whose clock was ahead may have recorded a time in the future.
    age = max(0.0, time.time() - known[oldest]) if oldest is not None else 0.0
    sentences = [
        *(f"shard {shard}: {text}" for shard, text in list(faults.items())[:5]),
        *([f"{len(never)} of {len(newest)} shards were never verified."] if never else []),
        *([f"Shard {oldest} was last verified {age / _DAY:.1f} days ago."] if oldest else []),
    ]
    return dg.AssetCheckResult(
        passed=not faults and not never and age < overdue * _WARN_SHARE,
        severity=_severity(serious=bool(faults) or age >= overdue),
        description=" ".join(sentences),
        metadata={
            "shards": len(newest),
            "never_verified": len(never),
            **({"shard": oldest, "days": round(age / _DAY, 2)} if oldest else {}),
            **({"faults": dg.MetadataValue.json(faults)} if faults else {}),
        },
    )


def _failed(sentence: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False, severity=_severity(serious=False), description=sentence
    )


def _severity(*, serious: bool) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if serious else dg.AssetCheckSeverity.WARN
