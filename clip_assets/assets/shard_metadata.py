"""Shard metadata shown in the Dagster UI: rows, speed, location, cost and pictures."""

from typing import Any

import dagster as dg
import pyarrow as pa

from clip_assets import catalog
from clip_assets.assets.pictures import put_sheet, sample, strip
from clip_assets.assets.rejects import reasons_table, rejected_images
from clip_assets.catalog import Catalog
from clip_assets.compute import ShardOutcome
from clip_assets.dagster_skypilot import Machine
from clip_assets.errors import StoreError
from clip_assets.model import ModelSpec
from clip_assets.store import commit as commits
from clip_assets.store import parquet, paths
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects

Metadata = dict[str, Any]

ROWS = "dagster/partition_row_count"

_ANY_DIM = 1
_COLUMNS = {
    "image_id": "the image's name within its collection",
    "uri": "where the image was read from",
    "caption": "caption from the source, if any",
    "sha256": "hash of the image file, and the key of its thumbnail",
    "width": "pixels, after EXIF rotation",
    "height": "pixels, after EXIF rotation",
    "thumbnail": "JPEG; empty if thumbnails are off",
    "embedding": "unit length, so a dot product is the cosine similarity",
}


def brief(objects: Objects, head: Catalog, spec: ModelSpec, outcome: ShardOutcome) -> Metadata:
    """The metadata for the event of an unchanged shard.

    Raises StoreError if the shard is not committed.
    """
    return _brief(objects, committed(objects, head, spec, outcome.shard), outcome)


def full(objects: Objects, head: Catalog, spec: ModelSpec, outcome: ShardOutcome) -> Metadata:
    """All metadata of a shard that this run made. Writes its pictures beside its parquet.

    Raises StoreError if the shard is not committed.
    """
    commit = committed(objects, head, spec, outcome.shard)
    speed = commit.images_encoded / commit.seconds if commit.seconds else 0.0
    return {
        **_pictures(objects, spec, commit),
        **_brief(objects, commit, outcome),
        "images_encoded": commit.images_encoded,
        **_of_carried(commit),
        "images_per_second": round(speed, 1),
        "seconds": round(commit.seconds, 1),
        **_of_stages(commit),
        "device": commit.device,
        "model": commit.identity.short,
        "digest": commit.digest[:12],
        **_of_rejects(objects, head, spec, commit),
        **(_of_machine(outcome.machine, outcome, commit) if outcome.machine else {}),
    }


def _brief(objects: Objects, commit: Commit, outcome: ShardOutcome) -> Metadata:
    return {
        "state": outcome.state,
        ROWS: commit.rows,
        "rejects": commit.rejected,
        "dagster/uri": objects.uri(commit.parts[0].path.rpartition("/")[0]),
        "made_by_run": commit.run_id,
    }


def _pictures(objects: Objects, spec: ModelSpec, commit: Commit) -> Metadata:
    pictures = sample(objects, commit)
    if not pictures:
        return {}
    path = paths.picture(commits.path_of(spec.slug, commit), "contact-sheet")
    put_sheet(objects, path, pictures)
    larger = f"Full size: `{path.rpartition('/')[2]}` beside the parquet."
    return {"pictures": dg.MetadataValue.md(f"{strip(pictures)}\n\n{larger}")}


def committed(objects: Objects, head: Catalog, spec: ModelSpec, key: str) -> Commit:
    """The shard's commit. Raises StoreError if the shard is not committed."""
    (shard,) = head.pick([key])
    commit = commits.read(objects, spec.slug, shard.at)
    if commit is None:
        raise StoreError(
            f"shard {shard.shard} was reported as done but has no commit, because the catalog "
            "changed during the run. Materialize the shard again."
        )
    return commit


def _of_rejects(objects: Objects, head: Catalog, spec: ModelSpec, commit: Commit) -> Metadata:
    if not commit.rejected:
        return {}
    found: Metadata = {"reasons": dg.MetadataValue.md(reasons_table(objects, commit))}
    (shard,) = head.pick([commit.shard])
    refs = catalog.live_refs(catalog.read_shard(objects, shard.at))
    pictures = rejected_images(objects, commit, refs, head.source)
    if pictures:
        path = paths.picture(commits.path_of(spec.slug, commit), "rejected-images")
        found["rejected_images"] = dg.MetadataValue.path(put_sheet(objects, path, pictures))
    return found


def _of_stages(commit: Commit) -> Metadata:
    """The limiting stage, and how busy each stage was; commits of earlier versions lack this."""
    if not commit.stage_seconds or not commit.seconds:
        return {}
    busy = ", ".join(
        f"{stage} {seconds / commit.workers[stage] / commit.seconds:.0%}"
        for stage, seconds in commit.stage_seconds.items()
    )
    return {"limited_by": f"{commit.limited_by} (busy: {busy})"}


def _of_carried(commit: Commit) -> Metadata:
    found = {
        "images_carried": commit.images_carried,
        "carried_from": commit.carried_from,
        "unreadable": commit.unreadable,
    }
    return {name: value for name, value in found.items() if value}


def _of_machine(machine: Machine, outcome: ShardOutcome, commit: Commit) -> Metadata:
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


def column_schema() -> dg.TableSchema:
    """The columns of the parquet; they are the same for each shard, so they are asset metadata."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                _type(field),
                _COLUMNS[field.name],
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in parquet.embeddings(_ANY_DIM)
        ]
    )


def _type(field: pa.Field) -> str:
    """The type; the length of vectors is known only once the model is loaded."""
    return str(field.type).replace(f"[{_ANY_DIM}]", "[dim]")
