"""The asset `embeddings`, with the node's own code in this process instead of a job."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from clip_assets import catalog
from clip_assets.assets.catalog import catalog_asset
from clip_assets.assets.embeddings import embeddings_asset
from clip_assets.assets.shard_metadata import ROWS
from clip_assets.automation.batches import range_tags
from clip_assets.collection import Collection
from clip_assets.compute import EmbedClient, ShardOutcome, local
from clip_assets.compute.local import LocalEmbedClient
from clip_assets.errors import HopelessJobError
from clip_assets.model import ModelSpec
from clip_assets.node import embed
from clip_assets.node.job import EmbedJob
from clip_assets.resources import Installation
from clip_assets.settings import Settings
from clip_assets.source.config import FolderConfig
from clip_assets.store import commit as commits
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects

SHARDS = ["00000", "00001", "00002"]


@dataclass
class Here:
    """An EmbedClient without a process. It fails after `most` shards."""

    most: int = len(SHARDS)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def run(
        self, context: dg.AssetExecutionContext, objects: Objects, job: EmbedJob
    ) -> Iterator[ShardOutcome]:
        self.asked.append(job.shards)
        some = job.model_copy(update={"shards": job.shards[: self.most]})
        assert embed.run(objects, some) == 0
        for shard in some.shards:
            yield ShardOutcome(shard, "committed", "")
        if len(job.shards) > self.most:
            raise HopelessJobError("The test's job ended early.")


@dataclass(frozen=True)
class Embedded:
    """A collection whose shards can be embedded, and how often that was asked for."""

    collection: Collection
    instance: dg.DagsterInstance

    @property
    def objects(self) -> Objects:
        return Objects(Settings().collection_uri(self.collection.name))

    def list_source(self) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [catalog_asset(self.collection)],
            instance=self.instance,
            resources={"clip_assets_installation": Installation()},
        )

    def embed(
        self, shards: list[str], client: EmbedClient | None = None, *, again: bool = False
    ) -> dg.ExecuteInProcessResult:
        asset = embeddings_asset(self.collection)
        return dg.materialize(
            [asset],
            instance=self.instance,
            resources={
                "clip_assets_installation": Installation(),
                "clip_assets_compute": client or Here(),
            },
            tags=range_tags(shards),
            run_config={"ops": {asset.op.name: {"config": {"again": True}}}} if again else {},
            raise_on_error=False,
        )

    def versions(self) -> list[int]:
        """The version of each shard whose embeddings are committed."""
        return [commit.version for commit in self._commits()]

    def encoded(self) -> list[int]:
        """How many images of each shard's newest commit went through the model for it."""
        return [commit.images_encoded for commit in self._commits()]

    def _commits(self) -> list[Commit]:
        newest = commits.newest(self.objects, self.collection.spec.slug)
        return [commits.read_path(self.objects, path) for path in newest.values()]


@pytest.fixture
def embedded(
    tmp_path: Path, write_pictures: Callable[..., Path], tiny_spec: ModelSpec
) -> Iterator[Embedded]:
    """Three shards of two pictures, all embedded once."""
    pictures = write_pictures(tmp_path / "pictures", 6)
    source = FolderConfig(uri=str(pictures))
    collection = Collection(name="photos", spec=tiny_spec, source=source, shard_size=2)
    with dg.DagsterInstance.ephemeral() as instance:
        embedded = Embedded(collection, instance)
        assert embedded.list_source().success
        assert embedded.embed(SHARDS).success
        yield embedded


def test_again_makes_a_shard_anew_beside_the_old_one(embedded: Embedded) -> None:
    """`again: true` embeds committed shards of the run; the old embeddings stay readable."""
    head = catalog.require(embedded.objects, "photos")
    client = Here()
    assert embedded.embed(["00000", "00001"], client, again=True).success
    assert client.asked == [("00000", "00001")]
    assert embedded.versions() == [2, 2, 1]
    slug = embedded.collection.spec.slug
    for shard in head.shards:
        old = commits.read(embedded.objects, slug, shard.at)
        assert old
        assert all(commits.read_part(embedded.objects, part).num_rows == 2 for part in old.parts)
    assert embedded.encoded() == [2, 2, 2], "from nothing: no row is carried over"


def test_an_event_at_the_commit_is_short_and_the_full_one_is_written_once(
    embedded: Embedded,
) -> None:
    """Dagster keeps every event forever, so only one event has all of a shard's metadata."""
    for shard in SHARDS:
        of_shard = dg.AssetRecordsFilter(embedded.collection.embeddings_key, [shard])
        found = embedded.instance.fetch_materializations(of_shard, limit=10).records
        full, *short = [record.asset_materialization for record in found]
        assert full
        assert len(short) == (shard != SHARDS[-1]), "the last one ends with its run"
        assert {"pictures", "dagster/uri", "images_per_second"} <= full.metadata.keys()
        assert {key for one in short if one for key in one.metadata} <= {ROWS}


class Canceled(LocalEmbedClient):
    """Its run is cancelled as soon as it starts, and no signal says so."""

    def run(
        self, context: dg.AssetExecutionContext, objects: Objects, job: EmbedJob
    ) -> Iterator[ShardOutcome]:
        context.instance.report_run_canceling(context.run)
        return super().run(context, objects, job)


def test_a_cancelled_run_stops_even_if_its_signal_got_lost(embedded: Embedded) -> None:
    """Python ignores an exception that a signal raises in the wrong moment."""
    done = embedded.embed(SHARDS, Canceled(), again=True)
    assert not done.success
    (failure,) = done.get_step_failure_events()
    assert failure.step_failure_data.user_failure_data
    assert "Committed shards are kept" in str(
        failure.step_failure_data.user_failure_data.description
    )
    assert not local._running
    assert embedded.versions() == [1, 1, 1]


def test_without_again_nothing_is_made_twice(embedded: Embedded) -> None:
    """Committed shards start no job."""
    client = Here()
    assert embedded.embed(SHARDS, client).success
    assert client.asked == []
    assert embedded.versions() == [1, 1, 1]


def test_interrupted_again_is_finished_by_any_rerun(embedded: Embedded) -> None:
    """Shards that the first run did not reach are missing, so the next run embeds only those."""
    assert not embedded.embed(SHARDS, Here(most=1), again=True).success
    assert embedded.versions() == [2, 1, 1]
    client = Here()
    assert embedded.embed(SHARDS, client).success
    assert client.asked == [("00001", "00002")]
    assert embedded.versions() == [2, 2, 2]
    assert embedded.encoded() == [2, 2, 2]


def test_catalog_restores_what_dagster_lost(embedded: Embedded) -> None:
    """The next catalog restores deleted partitions and wiped events, and says so."""
    key = embedded.collection.embeddings_key
    embedded.instance.delete_dynamic_partition(embedded.collection.partitions_name, "00001")
    embedded.instance.wipe_assets([key])
    (listed,) = embedded.list_source().get_asset_materialization_events()
    metadata = listed.materialization.metadata
    assert metadata["partitions_restored"].value == 1
    assert metadata["materializations_restored"].value == len(SHARDS)
    assert embedded.instance.get_dynamic_partitions("photos_shards") == ["00000", "00002", "00001"]
    assert embedded.instance.get_materialized_partitions(key) == set(SHARDS)
    (again,) = embedded.list_source().get_asset_materialization_events()
    assert again.materialization.metadata["materializations_restored"].value == 0


def test_an_error_of_ours_is_a_failure_with_its_sentence(embedded: Embedded) -> None:
    """The UI shows the remedy, not a stack trace."""
    done = embedded.embed(SHARDS, Here(most=1), again=True)
    (step,) = done.get_step_failure_events()
    data = step.step_failure_data
    assert data.user_failure_data
    assert data.user_failure_data.description == "The test's job ended early."
