"""Bring a collection up to date without the Dagster UI: the same assets, checks and runs.

Runs are executed here, one after another, and recorded in the Dagster instance like any other.
"""

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import dagster as dg

from clip_assets import catalog, project
from clip_assets.automation.batches import batches, range_tags
from clip_assets.automation.jobs import jobs_of
from clip_assets.catalog import Catalog
from clip_assets.cli.execution import Execution
from clip_assets.collection import INDEX_POOL
from clip_assets.component.image_collection import ImageCollection
from clip_assets.dagster_private import (
    AssetJob,
    ComponentTreeException,
    create_run,
    never_retried_tags,
)
from clip_assets.errors import JobError, SettingsError
from clip_assets.runs import abandoned, worker
from clip_assets.runs.slots import SlotWatch
from clip_assets.settings import Settings
from clip_assets.status import missing_shards
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects
from clip_assets.store.rejects import rejects_message

_STOP_SECONDS = 3.0
_CANCEL_SKY_SECONDS = 60.0


class Backfill:
    """The assets of one collection and model, executed step by step.

    Raises SettingsError if no such collection is defined or the project cannot be loaded, JobError
    if a run fails.
    """

    def __init__(
        self,
        settings: Settings,
        collection: str,
        slug: str | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        found = project.require()
        # An installed command does not have the current folder on its path, as `dg` does.
        sys.path.insert(0, str(found.import_folder))
        tree = dg.ComponentTree.for_project(found.root)
        self._location = found.code_location
        try:
            defined = tree.get_all_components(ImageCollection)
            self._defs = tree.build_defs()
        except ComponentTreeException as error:
            cause: BaseException = error
            while cause.__cause__:
                cause = cause.__cause__
            raise SettingsError(
                f"{found.root} cannot be loaded; `dg check defs` shows where. {cause}"
            ) from error
        self.collection = _chosen(defined, collection, slug)
        self._jobs = jobs_of(self.collection)
        self.objects = Objects(settings.collection_uri(collection))
        self._instance = dg.DagsterInstance.get()
        self._say = say

    def clear_abandoned(self) -> None:
        """Close runs whose process was killed, free pool slots of ended runs, and report both."""
        for sentence in abandoned.clear(self._instance):
            self._say(sentence)

    def refresh_catalog(self) -> None:
        """List the source and create new shards, if this collection's YAML has a source."""
        if self._jobs.listing is not None:
            self._execute(self._jobs.listing, self.collection.catalog_key)

    @property
    def head(self) -> Catalog:
        return catalog.require(self.objects, self.collection.name)

    def chosen(self, shards: str, *, again: bool = False) -> list[str]:
        """Keys of the shards that a user named: `missing`, `all`, or ranges such as `0..9,12`.

        Raises SettingsError for `missing` with `again`.
        """
        if shards == "missing":
            if again:
                raise SettingsError(
                    "Say which shards to embed again, such as --shards 3..7 or --shards all."
                )
            return missing_shards(self.objects, self.head, self.collection.spec.slug)
        return catalog.select(self.head, shards)

    def batches(self, shards: list[str]) -> Iterator[list[str]]:
        """Batches of consecutive shards, one run each."""
        return batches(shards, self.collection.shards_per_run)

    def embed(
        self, batch: list[str], run_id: str, meanwhile: Callable[[], None], *, again: bool = False
    ) -> None:
        """One run, and so one job, for consecutive shards; `again` embeds committed ones again."""
        self._execute(
            self._jobs.embed,
            self.collection.embeddings_key,
            meanwhile,
            pool=self.collection.embed_pool,
            tags=range_tags(batch),
            run_id=run_id,
            config={"again": True} if again else {},
        )

    def rejects(self, shards: list[str]) -> Iterator[str]:
        """A sentence for each of these shards that has rejects."""
        for shard in self.head.pick(shards):
            commit = commits.read(self.objects, self.collection.spec.slug, shard.at)
            share = self.collection.max_reject_share
            if commit and (message := rejects_message(self.objects, commit, share)):
                yield f"shard {shard.shard}: {message}"

    def index(self, meanwhile: Callable[[], None]) -> None:
        self._execute(
            self._jobs.publish, self.collection.search_index_key, meanwhile, pool=INDEX_POOL
        )

    def release(self) -> None:
        self._execute(self._jobs.publish, self.collection.release_key)

    def _execute(  # noqa: PLR0913
        self,
        job: AssetJob,
        key: dg.AssetKey,
        meanwhile: Callable[[], None] = lambda: None,
        *,
        pool: str | None = None,
        tags: Mapping[str, str] | None = None,
        run_id: str | None = None,
        config: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        run_id = run_id or str(uuid.uuid4())
        local = create_run(
            self._instance,
            self._defs,
            key,
            run_id,
            location=self._location,
            # Whoever ran the command repeats it; a daemon must not.
            tags={
                **self.collection.tags,
                **(tags or {}),
                **worker.tags(run_id),
                **never_retried_tags(),
            },
            job_name=job.name,
            config=config,
        )
        slots = SlotWatch(self._instance, pool, run_id, self._say) if pool else None

        def look() -> None:
            if slots:
                slots.look()
            meanwhile()

        stop_seconds = _CANCEL_SKY_SECONDS if self.collection.sky else _STOP_SECONDS
        events = Execution(local, stop_seconds=stop_seconds).wait(look)
        ended = self._instance.get_run_by_id(run_id)
        if ended is None or ended.status != dg.DagsterRunStatus.SUCCESS:
            raise JobError(f"{key.to_user_string()}: {_reason(events)}")


def _chosen(
    components: list[ImageCollection], collection: str, slug: str | None
) -> ImageCollection:
    found = [
        component
        for component in components
        if component.name == collection and slug in (None, component.spec.slug)
    ]
    if len(found) == 1:
        return found[0]
    known = ", ".join(sorted(f"{c.name} ({c.spec.slug})" for c in components))
    problem = "has several models; choose one with --model" if found else "is not defined"
    raise SettingsError(f"Collection {collection} {problem} of: {known or 'none'}.")


def _reason(events: Sequence[dg.DagsterEvent]) -> str:
    """The descriptions of the failed blocking checks, or else the message of the first failure,
    also of a run that could not start."""
    found = [
        event.asset_check_evaluation_data
        for event in events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    failed = [one for one in found if one.blocking and not one.passed]
    if failed:
        return "; ".join(f"{one.check_name}: {one.description or 'failed'}" for one in failed)
    for event in events:
        if event.event_type == dg.DagsterEventType.STEP_FAILURE:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return data.user_failure_data.description
            error = data.error and (data.error.cause or data.error)
            if error:
                return _told(error.message)
    for event in events:
        if event.event_type == dg.DagsterEventType.RUN_FAILURE and event.job_failure_data.error:
            return _told(event.job_failure_data.error.message)
    return "the run failed; see the Dagster UI"


def _told(message: str) -> str:
    """An exception's message without the exception's name."""
    return message.strip().split(": ", 1)[-1]
