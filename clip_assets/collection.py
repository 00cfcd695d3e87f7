"""The settings of one collection and model, from its YAML, and the keys of its assets."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Self

import dagster as dg
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from clip_assets.column import Column, require_declarable
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.dagster_private import is_cron
from clip_assets.errors import SettingsError
from clip_assets.index.vector_type import VectorType
from clip_assets.judge.judgement import Wanted
from clip_assets.model import ModelSpec
from clip_assets.node.job import EmbedJob
from clip_assets.release.update import ReleaseSpec
from clip_assets.runs.pruning import COLLECTION_TAG
from clip_assets.source import SourceConfig
from clip_assets.source.config import CaptionsConfig, Knowledge, TableConfig

YAML_NAMES = {"name": "collection", "spec": "model"}
"""The names in the YAML of the fields that have another name in Python."""

INDEX_POOL = "index"
"""The Dagster pool of `search_index`: building an HNSW takes all of a server's memory."""

_LONGEST_TAG = 63

# Patterns for the YAML's schema, so that `dg check yaml` points to the line. The validators below
# explain the fault in a sentence.
_NAME = r"^(?!pg_|(public|clip_assets|information_schema)$)[a-z][a-z0-9_]{0,40}$"
_OWNER = r"^(team:.+|[^@\s]+@[^@\s]+\.[^@\s]+)$"


def _cron_field(values: str) -> str:
    one = rf"(\*|({values})(-({values}))?)(/\d+)?"
    return f"{one}(,{one})*"


_MINUTE, _HOUR = r"[0-5]?\d", r"[01]?\d|2[0-3]"
_DAY, _MONTH, _WEEKDAY = (
    r"0?[1-9]|[12]\d|3[01]|[Ll]",
    r"0?[1-9]|1[0-2]|[A-Za-z]{3}",
    r"[0-7]|[A-Za-z]{3}",
)
_FIELDS = [_cron_field(values) for values in (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)]
_CRON = r"^\s*" + r"\s+".join(_FIELDS) + r"\s*$"


class Collection(BaseModel):
    """What to search, with which model, and what a release must reach."""

    model_config = ConfigDict(frozen=True)

    name: Annotated[
        str,
        WithJsonSchema({"type": "string", "pattern": _NAME}),
    ] = Field(description="name of the collection, and of its SQL schema")
    spec: ModelSpec = Field(description="the CLIP model and its weights")
    source: SourceConfig | None = Field(None, description="where the images are")
    columns: dict[str, Column] = Field(
        {}, description="values of each image to filter by: each column has a type and an origin"
    )
    captions: CaptionsConfig | None = Field(
        None, description="a table with the images' captions, or a field of their metadata"
    )
    metadata: TableConfig | None = Field(
        None,
        description="the table for metadata.FIELD, if it is not metadata.csv or the like",
    )
    allow_gps: bool = Field(
        False, description="allow columns from exif.GPS…, which reveal where people were"
    )
    sky: SkyPilotConfig | None = Field(
        None, description="how to run the embedding jobs on SkyPilot"
    )
    owner: Annotated[
        str | None,
        WithJsonSchema({"anyOf": [{"type": "string", "pattern": _OWNER}, {"type": "null"}]}),
    ] = Field(None, description="who owns the collection: team:NAME or an e-mail address")
    shard_size: int = Field(10_000, ge=1, description="images per shard; a shard is a partition")
    # Each run costs Dagster about 5 CPU-seconds, whatever it does; see benchmarks/orchestration.py.
    shards_per_run: int = Field(50, ge=1, description="shards per run; each run is one job")
    part_rows: int = Field(2_000, ge=1, description="images per part, the unit of resuming")
    batch_size: int | None = Field(
        None, ge=1, description="images per batch through the model; by default the device decides"
    )
    thumbnails: bool = Field(True, description="store a small JPEG of each image for the page")
    max_reject_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="a check fails if a shard rejects more than one image and a larger share of "
        "its images than this; the sound images are published all the same",
    )
    max_vanished_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="the catalog refuses a listing that lacks a larger share of the images listed "
        "before, for example after a wrong address or an unfinished copy; 1 allows everything",
    )
    max_megapixels: float = Field(
        100,
        gt=0,
        description="an image with more pixels is rejected, but a JPEG with up to four times as "
        "many is decoded at half its size; 100 takes up to 0.4 GB per processor core",
    )
    wanted_recall: float = Field(
        0.95, gt=0, le=1, description="recall@10 against exact search that a release must reach"
    )
    wanted_caption_recall: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of captions that must find their image among the ten nearest",
    )
    max_judged_fall: float | None = Field(
        None,
        ge=0,
        le=1,
        description="a release is blocked if its nDCG@10, by people's judgements, is below the "
        "live one's by a larger share than this, such as 0.05",
    )
    vector_type: VectorType = Field(
        VectorType.HALFVEC,
        description="pgvector type: halfvec (the default), or vector, which needs twice the space "
        "and supports at most 2,000 dimensions; rounding to halfvec changes the similarity of unit "
        "vectors by less than 0.001",
    )
    keep_indexes: int = Field(
        3, ge=2, description="indexes kept for rollback, the live one included"
    )
    # The warning comes after three quarters of this time: longer than a day, which is the interval
    # of reconcile.
    fresh_within_hours: int = Field(
        36, ge=1, description="assets not materialized for this long are overdue; warning at 3/4"
    )
    verify_within_days: int = Field(
        30, ge=1, description="days within which every shard's files are verified"
    )
    automate: bool = Field(
        True, description="keep the live model up to date; turns the sensors on by default"
    )
    look_every_seconds: int = Field(
        300, ge=5, description="how often to list the source for new images"
    )
    reconcile_cron: Annotated[str, WithJsonSchema({"type": "string", "pattern": _CRON})] = Field(
        "0 3 * * *", description="when to catch up on missing shards and verify old ones, in UTC"
    )

    @field_validator("name")
    @classmethod
    def _is_a_schema_name(cls, name: str) -> str:
        if not re.match(_NAME, name):
            raise ValueError(
                f"`{name}` cannot name a collection: use only lower-case letters, digits and _, "
                "and no schema of Postgres, because it is also the name of the SQL schema"
            )
        return name

    @field_validator("columns")
    @classmethod
    def _are_columns(cls, columns: dict[str, Column]) -> dict[str, Column]:
        for name, column in columns.items():
            require_declarable(name, column)
        return columns

    @model_validator(mode="after")
    def _gps_is_allowed(self) -> Self:
        for name, column in self.columns.items():
            if column.origin.startswith("exif.GPS") and not self.allow_gps:
                raise ValueError(
                    f"column {name}: {column.origin} reveals where people were. Set `allow_gps: "
                    "true` if everybody who searches may know"
                )
        return self

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge(columns=self.columns, captions=self.captions, metadata=self.metadata)

    @field_validator("owner")
    @classmethod
    def _is_an_owner(cls, owner: str | None) -> str | None:
        if owner is not None and not re.match(_OWNER, owner):
            raise ValueError(f"`{owner}` is not an owner: use team:NAME or an e-mail address")
        return owner

    @field_validator("reconcile_cron")
    @classmethod
    def _is_a_schedule(cls, cron: str) -> str:
        if not is_cron(cron):
            raise ValueError(
                f"`{cron}` is not a cron schedule, such as `0 3 * * *` for 03:00 each day"
            )
        return cron

    def require_source(self) -> SourceConfig:
        if self.source is None:
            raise SettingsError(f"{self.name} has no `source:` in its defs.yaml.")
        return self.source

    def job(self, job_id: str, run_id: str, shards: Sequence[str]) -> EmbedJob:
        """The job that embeds these shards with the settings of the YAML."""
        return EmbedJob(
            job_id=job_id,
            run_id=run_id,
            collection=self.name,
            model=self.spec,
            shards=tuple(shards),
            part_rows=self.part_rows,
            batch_size=self.batch_size,
            thumbnails=self.thumbnails,
            max_reject_share=self.max_reject_share,
            max_megapixels=self.max_megapixels,
        )

    @property
    def wanted(self) -> Wanted:
        return Wanted(
            recall=self.wanted_recall,
            caption_recall=self.wanted_caption_recall,
            judged_fall=self.max_judged_fall,
        )

    @property
    def release_spec(self) -> ReleaseSpec:
        return ReleaseSpec(
            self.name,
            self.spec,
            self.vector_type,
            wanted=self.wanted,
            keep_indexes=self.keep_indexes,
        )

    @property
    def embed_pool(self) -> str | None:
        """The Dagster pool of local embedding jobs; None if jobs run on SkyPilot's machines."""
        return None if self.sky else "embed"

    @property
    def follow_every_seconds(self) -> int:
        """Seconds between ticks of the sensors that only compare the catalog with the commits."""
        return min(30, self.look_every_seconds)

    @property
    def partitions_name(self) -> str:
        return partitions_name(self.name)

    @property
    def partitions(self) -> dg.DynamicPartitionsDefinition:
        return dg.DynamicPartitionsDefinition(name=self.partitions_name)

    @property
    def model_key(self) -> str:
        """The model's name in asset keys."""
        return _key_of(self.spec.slug)

    @property
    def name_with_model(self) -> str:
        """The collection's name and the model's key, for sensors and schedules."""
        return f"{self.name}_{self.model_key}"

    @property
    def catalog_key(self) -> dg.AssetKey:
        return dg.AssetKey([self.name, "catalog"])

    @property
    def embeddings_key(self) -> dg.AssetKey:
        return self.embeddings_key_of(self.spec.slug)

    def embeddings_key_of(self, slug: str) -> dg.AssetKey:
        """The key of this collection's embeddings by the model with that slug."""
        return dg.AssetKey([self.name, _key_of(slug), "embeddings"])

    @property
    def search_index_key(self) -> dg.AssetKey:
        return dg.AssetKey([self.name, self.model_key, "search_index"])

    @property
    def release_key(self) -> dg.AssetKey:
        return dg.AssetKey([self.name, self.model_key, "release"])

    @property
    def report_key(self) -> dg.AssetKey:
        return dg.AssetKey([self.name, self.model_key, "report"])

    @property
    def tags(self) -> dict[str, str]:
        """Tags of assets and runs, which the UI can filter by."""
        return {**self.shared_tags, "clip_assets/model": self.model_key[:_LONGEST_TAG]}

    @property
    def shared_tags(self) -> dict[str, str]:
        """The tags that are the same for all models of the collection."""
        return {COLLECTION_TAG: self.name}

    @property
    def index_key(self) -> tuple[str, str, VectorType]:
        """What identifies the index in Postgres: collection, slug of the model, type of vectors."""
        return self.name, self.spec.slug, self.vector_type

    @property
    def freshness_policy(self) -> dg.FreshnessPolicy:
        window = timedelta(hours=self.fresh_within_hours)
        return dg.FreshnessPolicy.time_window(fail_window=window, warn_window=window * 0.75)


def partitions_name(collection: str) -> str:
    """Name of the dynamic partitions definition whose partitions are the collection's shards."""
    return f"{collection}_shards"


def _key_of(slug: str) -> str:
    """Asset keys allow neither dots nor dashes."""
    return re.sub(r"[^a-z0-9_]+", "_", slug)
