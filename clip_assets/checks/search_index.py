"""Checks of `search_index`: a failed check blocks the release."""

from collections.abc import Iterator

import dagster as dg

from clip_assets.collection import Collection
from clip_assets.index import tables
from clip_assets.index.integrity import visible_damage
from clip_assets.judge.judgement import Judgement
from clip_assets.resources import Installation
from clip_assets.store import commit as commits


def search_index_checks(collection: Collection) -> Iterator[dg.AssetChecksDefinition]:
    yield _matches_embeddings(collection)
    yield _recall_reached(collection)
    yield _judged_quality_kept(collection)


def _matches_embeddings(collection: Collection) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=collection.search_index_key,
        blocking=True,
        description="The index has loaded the newest commit of every shard, and has all its rows. "
        "Dagster itself does not compute staleness for 100 or more partitions.",
    )
    def matches_embeddings(
        context: dg.AssetCheckExecutionContext, clip_assets_installation: Installation
    ) -> dg.AssetCheckResult:
        newest = commits.newest(
            clip_assets_installation.objects(collection.name), collection.spec.slug
        )
        with clip_assets_installation.connect_reader() as connection:
            index = tables.find(connection, *collection.index_key)
            ledger = tables.ledger(connection, index)
            damage = visible_damage(connection, index)
        repaired = _repaired(context, collection)
        loaded = {shard: row.commit_path for shard, row in ledger.items()}
        behind = sorted(shard for shard, path in newest.items() if loaded.get(shard) != path)
        return dg.AssetCheckResult(
            passed=bool(newest)
            and not behind
            and loaded.keys() == newest.keys()
            and damage is None,
            description=f"{len(newest) - len(behind)} of {len(newest)} shards match their commits."
            + (f" Damaged: {damage}; materialize `search_index` again." if damage else "")
            + (f" Damaged rows of {repaired} shards were reloaded." if repaired else ""),
            metadata={
                "shards": len(newest),
                "shards_repaired": repaired,
                **({"behind": dg.MetadataValue.json(behind)} if behind else {}),
            },
        )

    return matches_embeddings


def _repaired(context: dg.AssetCheckExecutionContext, collection: Collection) -> int:
    """How many shards the last materialization restored."""
    event = context.instance.get_latest_materialization_event(collection.search_index_key)
    made = event.asset_materialization if event else None
    count = made.metadata.get("shards_repaired") if made else None
    return (count.value or 0) if isinstance(count, dg.IntMetadataValue) else 0


def _judgement(collection: Collection, installation: Installation) -> Judgement:
    with installation.connect_reader() as connection:
        index = tables.find(connection, *collection.index_key)
    return Judgement.model_validate(index.judgement)


def _recall_reached(collection: Collection) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=collection.search_index_key,
        blocking=True,
        description="recall@10 against exact search reaches the target with 95 % confidence, for "
        "text and for image queries; searches use the HNSW; captions find their image.",
    )
    def recall_reached(clip_assets_installation: Installation) -> dg.AssetCheckResult:
        judgement = _judgement(collection, clip_assets_installation)
        reached = judgement.reached
        return dg.AssetCheckResult(
            passed=not judgement.index_faults,
            description="; ".join(judgement.index_faults),
            metadata={
                "text_recall": round(reached.text.mean, 4),
                "text_recall_lower_bound": round(reached.text.lower, 4),
                "image_recall": round(reached.image.mean, 4),
                "image_recall_lower_bound": round(reached.image.lower, 4),
                "wanted": judgement.wanted.recall,
                "ef_search": judgement.ef_search,
                "uses_index": judgement.uses_index,
                "caption_recall": judgement.caption_recall and round(judgement.caption_recall, 4),
            },
        )

    return recall_reached


def _judged_quality_kept(collection: Collection) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=collection.search_index_key,
        blocking=True,
        description="nDCG@10, by people's judgements, is not below the live release's by more than "
        "`max_judged_fall`; passes if there are no judgements.",
    )
    def judged_quality_kept(clip_assets_installation: Installation) -> dg.AssetCheckResult:
        judgement = _judgement(collection, clip_assets_installation)
        people = judgement.people
        if people is None:
            return dg.AssetCheckResult(passed=True, description="There are no judgements.")
        left_out = f" Text queries were skipped: {people.problem}." if people.problem else ""
        summary = "; ".join(judgement.judged_faults) or f"{people.queries} judged queries."
        return dg.AssetCheckResult(
            passed=not judgement.judged_faults,
            description=summary + left_out,
            metadata={
                "judged_queries": people.queries,
                "judgements": people.judgements,
                "fall": round(people.fall, 4),
                "quality": dg.MetadataValue.md(people.markdown),
            },
        )

    return judged_quality_kept
