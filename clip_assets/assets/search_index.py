"""`search_index`: rows and HNSW in Postgres for one model; loads only shards that changed."""

from typing import Any

import dagster as dg

from clip_assets import catalog
from clip_assets.assets.chart import Line, recall_chart
from clip_assets.automation.conditions import search_index_condition
from clip_assets.collection import Collection
from clip_assets.index import build as hnsw
from clip_assets.index import load, tables, thumbnails
from clip_assets.judge import judge
from clip_assets.judge.judgement import Judgement
from clip_assets.resources import Installation


def search_index_asset(of: Collection) -> dg.AssetsDefinition:
    @dg.asset(
        key=of.search_index_key,
        deps=[dg.AssetDep(of.embeddings_key, partition_mapping=dg.AllPartitionMapping())],
        description="Rows and HNSW in Postgres: one transaction a shard, judged after each change.",
        kinds={"postgres"},
        code_version="1",
        pool="index",
        freshness_policy=of.freshness_policy,
        automation_condition=search_index_condition(),
        group_name=of.collection,
        owners=[of.owner],
    )
    def build(
        context: dg.AssetExecutionContext, installation: Installation
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        objects = installation.objects(of.collection)
        head = catalog.require(objects, of.collection)
        shards = [shard.at for shard in head.shards]
        with installation.connect() as connection:
            done = load.reconcile(
                connection, objects, of.collection, of.spec, shards, vector_type=of.vector_type
            )
            context.log.info(f"loaded {len(done.loaded)}, unchanged {len(done.unchanged)} shards")
            if done.replaced:
                thumbnails.drop_unneeded(connection)
            if done.outgrown:
                context.log.info(
                    f"{done.outgrown} answers until the release moves: so much is new that a graph "
                    "of all is built sooner than that one would take it in"
                )
            built = hnsw.build(connection, done.index, head.images, context.log.info)
            judgement = judge.judge(connection, objects, done.index, of.wanted)
            judge.judge_outgrown(connection, objects, done.index, of.wanted)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(f"{judgement.content}-{of.vector_type}"),
            metadata={
                "dagster/row_count": judgement.rows,
                "dagster/table_name": f"clip_assets.{tables.table_name(done.index.index_id)}",
                "shards_loaded": len(done.loaded),
                "shards_unchanged": len(done.unchanged),
                "shards_missing": len(done.missing),
                "hnsw_built": built,
                "model": done.index.identity.short,
                "vector_type": of.vector_type.value,
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
        "recall_by_ef_search": dg.MetadataValue.md(_recall_by_ef_search(judgement)),
        "recall_under_filters": dg.MetadataValue.md(
            f"| pass | plan | recall@10 text | recall@10 image |\n|---|---|---|---|\n{filtered}"
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
