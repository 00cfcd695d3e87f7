"""`report`: duplicates and drift of the embeddings, with pictures."""

from collections.abc import Sequence

import dagster as dg
import numpy as np

from clip_assets.assets.drift_chart import drift_chart
from clip_assets.assets.failures import as_dagster_failure
from clip_assets.assets.pictures import pair_sheet
from clip_assets.automation.conditions import report_condition
from clip_assets.collection import Collection
from clip_assets.lake import duplicates
from clip_assets.lake.duplicates import Duplicates
from clip_assets.quality.drift import Drift, drifts
from clip_assets.resources import Installation
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects

_SHOWN = 8
_LINES = 50


def report_asset(collection: Collection) -> dg.AssetsDefinition:
    @dg.asset(
        key=collection.report_key,
        deps=[dg.AssetDep(collection.embeddings_key, partition_mapping=dg.AllPartitionMapping())],
        description="Duplicate images, similar images, and shards that differ from earlier ones.",
        config_schema={},  # a run config would be ignored, so it is refused
        kinds={"parquet"},
        automation_condition=report_condition(collection),
    )
    @as_dagster_failure()
    def build(
        context: dg.AssetExecutionContext, clip_assets_installation: Installation
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        objects = clip_assets_installation.objects(collection.name)
        found = duplicates.find(objects, collection.spec.slug)
        shards = drift_of(objects, collection.spec.slug)
        drifted = [shard.shard for shard in shards if shard.drifted]
        if drifted:
            context.log.warning(f"shards that differ from earlier ones: {', '.join(drifted)}")
        return dg.MaterializeResult(
            metadata={
                "images": found.images,
                "compared_for_near_duplicates": found.compared,
                "exact_duplicates": sum(len(group) - 1 for group in found.exact),
                "near_duplicates": len(found.near),
                "near_from_cosine": found.threshold,
                "duplicates": dg.MetadataValue.md(_duplicates(found)),
                "pictures": dg.MetadataValue.md(_pictures(objects, collection.spec.slug, found)),
                "drifted_shards": dg.MetadataValue.json(drifted),
                "drift": dg.MetadataValue.md(_drift(shards)),
            }
        )

    return build


def drift_of(objects: Objects, slug: str) -> list[Drift]:
    """Drift of every committed shard from the shards before it."""
    newest = commits.newest(objects, slug).values()
    found = [commits.read_path(objects, path) for path in newest]
    means = np.asarray([commit.mean for commit in found], np.float64)
    return drifts([c.shard for c in found], [c.rows for c in found], means)


def _duplicates(found: Duplicates) -> str:
    groups = [
        f"| {', '.join(f'`{name}`' for name in group)} | same bytes |" for group in found.exact
    ]
    pairs = [f"| `{pair.first}`, `{pair.second}` | {pair.cosine:.4f} |" for pair in found.near]
    lines = [*groups, *pairs]
    if not lines:
        return "_no duplicates_"
    more = f"\n\n{len(lines) - _LINES} more" if len(lines) > _LINES else ""
    return "\n".join(["| images | cosine |", "|---|---|", *lines[:_LINES]]) + more


def _pictures(objects: Objects, slug: str, found: Duplicates) -> str:
    """The first pairs side by side: half exact, half near-duplicates if both kinds exist."""
    copies = [(group[0], group[1]) for group in found.exact]
    alike = [(pair.first, pair.second) for pair in found.near]
    shown = [*copies[: max(_SHOWN // 2, _SHOWN - len(alike))], *alike][:_SHOWN]
    pictures = duplicates.thumbnails(objects, slug, [name for pair in shown for name in pair])
    pairs = [(pictures[first], pictures[second]) for first, second in shown]
    return pair_sheet([pair for pair in pairs if all(pair)])


def _drift(shards: Sequence[Drift]) -> str:
    lines = [
        f"| {shard.shard} | {shard.rows} | {shard.norm:.4f} | {shard.distance:.4f} | "
        f"{shard.expected:.4f} | {'**drifted**' if shard.drifted else ''} |"
        for shard in shards[-_LINES:]
    ]
    head = "| shard | rows | length of mean | distance | by chance | |\n|---|---|---|---|---|---|"
    return "\n".join([drift_chart(shards), "", head, *lines])
