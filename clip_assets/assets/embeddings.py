"""`embeddings`: one partition a shard, many shards a job."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from clip_assets import catalog
from clip_assets.assets.pictures import contact_sheet
from clip_assets.catalog import Shard
from clip_assets.collection import Collection
from clip_assets.compute import EmbedClient, ShardReport
from clip_assets.compute.skypilot.client import PipesSkyPilotClient
from clip_assets.errors import StoreError
from clip_assets.node import job as jobs
from clip_assets.node.job import EmbedJob
from clip_assets.resources import Installation
from clip_assets.store import commit as commits
from clip_assets.store import parquet
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects

_COLUMNS = {
    "image_id": "the image's name within its collection",
    "uri": "where the image was read",
    "caption": "what the source says of the image, if it says anything",
    "sha256": "of the image file; thumbnails go by it",
    "width": "pixels, upright",
    "height": "pixels, upright",
    "thumbnail": "WebP",
    "embedding": "unit length: the dot product of two is their cosine similarity",
}


def embeddings_asset(of: Collection) -> dg.AssetsDefinition:
    @dg.asset(
        key=of.embeddings_key,
        deps=[of.catalog_key],
        partitions_def=of.partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(of.shards_per_run),
        description=f"Unit vectors of every image by {of.spec.title}: parquet parts and a commit.",
        kinds={"parquet", "pytorch"},
        code_version="1",
        pool=None if of.sky else "embed",
        freshness_policy=of.freshness_policy,
        retry_policy=dg.RetryPolicy(max_retries=1, delay=5),
        group_name=of.collection,
        owners=[of.owner],
    )
    def build(
        context: dg.AssetExecutionContext,
        installation: Installation,
        compute: dg.ResourceParam[EmbedClient],
    ) -> Iterator[dg.AssetMaterialization | dg.MaterializeResult[None]]:
        objects = installation.objects(of.collection)
        shards = tuple(context.partition_keys)
        job = EmbedJob(
            job_id=jobs.id_of(of.spec.slug, shards, context.run_id, context.retry_number),
            run_id=context.run_id,
            collection=of.collection,
            model=of.spec,
            shards=shards,
            part_rows=of.part_rows,
            batch_size=of.batch_size,
            max_reject_share=of.max_reject_share,
        )
        client = PipesSkyPilotClient(of.sky) if of.sky else compute
        failed = dict.fromkeys(shards, "the job ended before it came to this shard")
        for report in _reports(context, client, objects, job):
            if report.state == "failed":
                failed[report.shard] = report.message
                continue
            if failed.pop(report.shard, None) is None:
                continue  # said again by a job that was recovered
            values = _metadata(of, objects, report)
            context.add_asset_metadata(values, partition_key=report.shard)
            if failed:
                # Green as it commits, not with the last: a lost worker loses no record.
                yield dg.AssetMaterialization(
                    of.embeddings_key, partition=report.shard, metadata=values
                )
        _raise_if_unfinished(shards, failed)
        yield dg.MaterializeResult()

    return build


def _reports(
    context: dg.AssetExecutionContext, client: EmbedClient, objects: Objects, job: EmbedJob
) -> Iterator[ShardReport]:
    """Raises Failure if the run is terminated, which the retry policy would answer by a retry."""
    try:
        yield from client.run(context, objects, job)
    except dg.DagsterExecutionInterruptedError as error:
        raise dg.Failure(
            "Terminated. Shards that were committed are kept; materialize again for the others.",
            allow_retries=False,
        ) from error


def _raise_if_unfinished(shards: Sequence[str], failed: dict[str, str]) -> None:
    if not failed:
        return
    raise dg.Failure(
        f"{len(failed)} of {len(shards)} shards failed; the others are committed. "
        "Re-execute the backfill's failed partitions after mending the cause. "
        + "; ".join(f"shard {shard}: {message}" for shard, message in list(failed.items())[:5]),
        metadata={"failed_shards": dg.MetadataValue.json(failed)},
        allow_retries=False,
    )


def _metadata(of: Collection, objects: Objects, report: ShardReport) -> dict[str, Any]:
    head = catalog.read(objects)
    shards = head.pick([report.shard]) if head else []
    if not shards:
        raise StoreError(f"shard {report.shard} has left the catalog. Materialize `catalog` first.")
    commit = _require_commit(of, objects, shards[0])
    return {
        "state": report.state,
        **_of_commit(objects, commit),
        **_of_machine(report, commit),
    }


def _of_machine(report: ShardReport, commit: Commit) -> dict[str, Any]:
    """What a rented machine did and cost for this shard; a shard found committed cost nothing."""
    machine = report.machine
    if machine is None:
        return {}
    seconds = commit.seconds if report.state == "committed" else 0.0
    price = machine.dollars_per_hour
    return {
        "gpu": f"{machine.gpus:g}x {machine.accelerator}" if machine.gpus else "none",
        "gpu_seconds": round(seconds * machine.gpus, 1),
        "dollars": None if price is None else round(price * seconds / 3600, 6),
        "infra": machine.infra,
        "sky_job": machine.job,
        "sky_dashboard": dg.MetadataValue.url(machine.url),
    }


def _require_commit(of: Collection, objects: Objects, shard: Shard) -> Commit:
    commit = commits.read(objects, of.spec.slug, shard.at)
    if commit is None:
        raise StoreError(
            f"shard {shard.shard} was reported as done but has no commit: the catalog changed "
            "meanwhile. Materialize it again."
        )
    return commit


def _of_commit(objects: Objects, commit: Commit) -> dict[str, Any]:
    speed = commit.images_encoded / commit.seconds if commit.seconds else 0.0
    return {
        "dagster/partition_row_count": commit.rows,
        "dagster/uri": objects.uri(commit.parts[0].path.rpartition("/")[0]),
        "dagster/column_schema": _column_schema(commit.identity.dim),
        "rejects": commit.rejected,
        "images_per_second": round(speed, 1),
        "seconds": commit.seconds,
        "device": commit.device,
        "model": commit.identity.short,
        "digest": commit.digest,
        "made_by_run": commit.run_id,
        "pictures": dg.MetadataValue.md(contact_sheet(objects, commit)),
    }


def _column_schema(dim: int) -> dg.TableSchema:
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                str(field.type),
                _COLUMNS[field.name],
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in parquet.embeddings(dim)
        ]
    )
