"""`search_index`: rows and HNSW in Postgres for one model; loads only changed shards."""

from typing import Any

import dagster as dg

from clip_assets.assets.chart import Line, recall_chart
from clip_assets.assets.failures import as_dagster_failure
from clip_assets.automation.conditions import search_index_condition
from clip_assets.collection import INDEX_POOL, Collection
from clip_assets.index import tables
from clip_assets.judge.judgement import Judgement
from clip_assets.judge.update import update_index
from clip_assets.resources import Installation
from clip_assets.runs import worker


def search_index_asset(collection: Collection) -> dg.AssetsDefinition:
    @dg.asset(
        key=collection.search_index_key,
        deps=[dg.AssetDep(collection.embeddings_key, partition_mapping=dg.AllPartitionMapping())],
        description=f"The vectors by {collection.spec.title} in Postgres, with an HNSW index. "
        "Loads the shards that changed, then measures recall.",
        config_schema={},  # a run config would be ignored, so it is refused
        kinds={"postgres"},
        pool=INDEX_POOL,
        automation_condition=search_index_condition(),
    )
    @as_dagster_failure()
    def build(
        context: dg.AssetExecutionContext, clip_assets_installation: Installation
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        # If this process is killed, run monitoring frees its slot of the pool.
        context.instance.add_run_tags(context.run.run_id, worker.tags(context.run.run_id))
        objects = clip_assets_installation.objects(collection.name)
        with clip_assets_installation.connect() as connection:
            done = update_index(
                connection, objects, collection.release_spec, collection.wanted, context.log.info
            )
        judgement = done.judgement
        return dg.MaterializeResult(
            data_version=dg.DataVersion(f"{judgement.content}-{collection.vector_type}"),
            metadata={
                "dagster/row_count": judgement.rows,
                "dagster/table_name": f"clip_assets.{tables.table_name(done.index.index_id)}",
                "shards_loaded": len(done.reconciled.loaded),
                "shards_unchanged": len(done.reconciled.unchanged),
                "shards_missing": len(done.reconciled.missing),
                "shards_repaired": len(done.repaired),
                **({"repaired": dg.MetadataValue.json([*done.repaired])} if done.repaired else {}),
                "hnsw_built": done.built,
                "model": done.index.identity.short,
                "vector_type": collection.vector_type.value,
                **_measured(judgement),
            },
        )

    return build


def _measured(judgement: Judgement) -> dict[str, Any]:
    reached = judgement.reached
    filtered = "\n".join(
        f"| {one.share:.1%} | {one.plan} | {one.text.mean:.3f} | {one.image.mean:.3f} |"
        for one in reached.filtered
    )
    return {
        "ef_search": judgement.ef_search,
        "text_recall": round(reached.text.mean, 4),
        "image_recall": round(reached.image.mean, 4),
        "caption_recall": judgement.caption_recall and round(judgement.caption_recall, 4),
        "equal_vectors": judgement.equal_vectors,
        "recall_by_ef_search": dg.MetadataValue.md(_recall_by_ef_search(judgement)),
        "recall_under_filters": dg.MetadataValue.md(
            f"| match | plan | recall@10 text | recall@10 image |\n|---|---|---|---|\n{filtered}"
        ),
    }


def _recall_by_ef_search(judgement: Judgement) -> str:
    rungs = [*judgement.below, *judgement.ladder]
    lines = [
        Line("text queries", [(rung.ef_search, rung.text.mean) for rung in rungs]),
        Line("image queries", [(rung.ef_search, rung.image.mean) for rung in rungs]),
    ]
    rows = "\n".join(
        f"| {rung.ef_search} | {rung.text.mean:.3f} | {rung.image.mean:.3f} |" for rung in rungs
    )
    return (
        f"{recall_chart(lines, judgement.wanted.recall, judgement.ef_search)}\n\n"
        f"| ef_search | recall@10 text | recall@10 image |\n|---|---|---|\n{rows}"
    )
