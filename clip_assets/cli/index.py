"""Bring an index up to date without Dagster, in the database or in a separate snapshot."""

import uuid
from dataclasses import dataclass

from pydantic import ValidationError
from rich.console import Console

from clip_assets.errors import SettingsError
from clip_assets.index.progress import Report
from clip_assets.judge.update import Updated
from clip_assets.model import ModelSpec, Precision
from clip_assets.postgres.connect import connect, connect_owner
from clip_assets.release.update import Published, ReleaseSpec, bring_up_to_date
from clip_assets.settings import Settings
from clip_assets.snapshot import make
from clip_assets.snapshot.manifest import FOLDER as SNAPSHOTS
from clip_assets.snapshot.progress import bars
from clip_assets.snapshot.scratch import scratch
from clip_assets.store.objects import Objects


@dataclass(frozen=True)
class Done:
    """The result; `snapshot` is the address of the new snapshot, if any."""

    updated: Updated
    published: Published
    snapshot: str | None = None

    @property
    def lines(self) -> list[str]:
        """Summary lines for the terminal and logs."""
        shards, live = self.updated.reconciled, self.published.release
        lines = [
            f"loaded {len(shards.loaded)} shards, unchanged {len(shards.unchanged)} shards, "
            f"missing {len(shards.missing)} shards",
            f"release {live.id} is live: {live.rows} images by {live.identity.short}",
        ]
        if self.updated.repaired:
            lines.insert(0, f"repaired {len(self.updated.repaired)} damaged shards")
        judgement = self.updated.judgement
        if judgement.equal_vectors:
            lines.append(
                f"{judgement.equal_vectors} of {judgement.rows} vectors equal another vector; the "
                f"largest group of equal vectors has {judgement.most_equal}"
            )
        if self.published.dropped:
            lines.append(f"dropped superseded tables: {', '.join(self.published.dropped)}")
        if self.snapshot:
            lines.append(f"snapshot: {self.snapshot}")
        return lines


def model_spec(name: str, pretrained: str, precision: Precision) -> ModelSpec:
    """Raises SettingsError if the weights are not named, or named twice."""
    try:
        return ModelSpec(name=name, pretrained=pretrained or None, precision=precision)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{reason}.") from error


def index_to_database(objects: Objects, spec: ReleaseSpec, report: Report) -> Done:
    """Index into the Postgres of the settings. Raises the errors of `bring_up_to_date`."""
    with connect_owner(Settings()) as connection:
        return Done(*bring_up_to_date(connection, objects, spec, _run_id(), report))


def index_to_snapshot(objects: Objects, spec: ReleaseSpec, to: str | None, report: Report) -> Done:
    """Index into a temporary Postgres, then pack it next to the parquet or into the folder `to`.

    The Postgres is stopped at the end. Raises the errors of `bring_up_to_date`, and StoreError like
    `seal`.
    """
    target = Objects(to or objects.uri(SNAPSHOTS))
    with scratch(Settings().workplace, make.next_release(target)) as cluster:
        with connect(cluster.dsn) as connection:
            done = bring_up_to_date(connection, objects, spec, _run_id(), report)
        with bars(Console(stderr=True)) as step:
            made = make.seal(cluster, spec.collection, target, step)
    return Done(*done, target.uri(made.snapshot))


def _run_id() -> str:
    return f"by-hand-{uuid.uuid4().hex[:8]}"
