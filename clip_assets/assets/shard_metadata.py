"""Shard metadata shown in the Dagster UI: rows, speed, location, cost and pictures."""

from typing import Any

import dagster as dg

from clip_assets import catalog
from clip_assets.assets.pictures import contact_sheet
from clip_assets.assets.rejects import rejects_sheet
from clip_assets.catalog import Catalog, Shard
from clip_assets.compute import Machine, ShardOutcome
from clip_assets.errors import StoreError
from clip_assets.model import ModelSpec
from clip_assets.store import commit as commits
from clip_assets.store import parquet
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects

_COLUMNS = {
    "image_id": "the image's name within its collection",
    "uri": "where the image was read from",
    "caption": "caption from the source, if any",
    "sha256": "hash of the image file; thumbnails are looked up by it",
    "width": "pixels, after EXIF rotation",
    "height": "pixels, after EXIF rotation",
    "thumbnail": "JPEG, or empty without thumbnails",
    "embedding": "unit length, so a dot product is the cosine similarity",
}


def shard_metadata(
    objects: Objects, head: Catalog, spec: ModelSpec, outcome: ShardOutcome
) -> dict[str, Any]:
    """Metadata of a committed shard. Raises StoreError if the shard is not committed."""
    (shard,) = head.pick([outcome.shard])
    commit = _require_commit(objects, spec, shard)
    speed = commit.images_encoded / commit.seconds if commit.seconds else 0.0
    return {
        "pictures": dg.MetadataValue.md(contact_sheet(objects, commit)),
        "state": outcome.state,
        "dagster/partition_row_count": commit.rows,
        "dagster/uri": objects.uri(commit.parts[0].path.rpartition("/")[0]),
        "dagster/column_schema": _column_schema(commit.identity.dim),
        "rejects": commit.rejected,
        "unreadable": commit.unreadable,
        "images_encoded": commit.images_encoded,
        "images_carried": commit.images_carried,
        **({"carried_from": commit.carried_from} if commit.carried_from else {}),
        "images_per_second": round(speed, 1),
        "seconds": round(commit.seconds, 1),
        **_of_stages(commit),
        "device": commit.device,
        "model": commit.identity.short,
        "digest": commit.digest,
        "made_by_run": commit.run_id,
        **_of_rejects(objects, head, shard, commit),
        **(_of_machine(outcome.machine, outcome, commit) if outcome.machine else {}),
    }


def _require_commit(objects: Objects, spec: ModelSpec, shard: Shard) -> Commit:
    commit = commits.read(objects, spec.slug, shard.at)
    if commit is None:
        raise StoreError(
            f"shard {shard.shard} was reported as done but has no commit: the catalog changed "
            "during the run. Materialize the shard again."
        )
    return commit


def _of_rejects(objects: Objects, head: Catalog, shard: Shard, commit: Commit) -> dict[str, Any]:
    if not commit.rejected:
        return {}
    refs = catalog.live_refs(catalog.read_shard(objects, shard.at))
    sheet = rejects_sheet(objects, commit, refs, head.source)
    return {"rejected_images": dg.MetadataValue.md(sheet)}


def _of_stages(commit: Commit) -> dict[str, Any]:
    """What to buy more of, and how busy each stage was; commits of earlier versions do not say."""
    if not commit.stage_seconds or not commit.seconds:
        return {}
    busy = {
        f"{stage}_busy": round(seconds / commit.workers[stage] / commit.seconds, 2)
        for stage, seconds in commit.stage_seconds.items()
    }
    return {"limited_by": commit.limited_by, **busy}


def _of_machine(machine: Machine, outcome: ShardOutcome, commit: Commit) -> dict[str, Any]:
    """The machine and its cost for this shard; an already committed shard costs nothing."""
    seconds = commit.seconds if outcome.state == "committed" else 0.0
    return {
        "gpu": f"{machine.gpus:g}x {machine.accelerator}" if machine.gpus else "none",
        "gpu_seconds": round(seconds * machine.gpus, 3),
        "dollars": machine.dollars(seconds),
        "infra": machine.infra,
        "sky_job": machine.job,
        "sky_dashboard": dg.MetadataValue.url(machine.url),
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
