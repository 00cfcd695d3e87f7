"""Embed the shards of a job: decode, encode, write parts, commit.

    python -m clip_assets.node.embed --job DATA/COLLECTION/jobs/ID/job.json
    python -m clip_assets.node.embed --data DATA --collection photos --shards 0..9 \\
        --model ViT-B-32 --pretrained laion2b_s34b_b79k

Runs identically under Dagster, under SkyPilot and by hand. If a job dies, start it again with the
same arguments; it redoes the few parts that were in memory, and reads again what could not be read.
Exit status: 0 if every shard is committed, 1 if they are but some reject more than
--max-reject-share (0 with --job), 2 if an error ended the job.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer
from pydantic import ValidationError

from clip_assets import catalog
from clip_assets.catalog import Shard
from clip_assets.column import Column
from clip_assets.errors import StoreError
from clip_assets.model import ModelSpec, Precision, require_same
from clip_assets.node import encoder as encoders
from clip_assets.node import job as jobs
from clip_assets.node import parts
from clip_assets.node import queries as text_queries
from clip_assets.node.decode import pipeline_limits
from clip_assets.node.earlier import Earlier, earlier
from clip_assets.node.encoder import Encoder
from clip_assets.node.job import CODE_VERSION, EmbedJob
from clip_assets.node.parts import BegunPart, FinishedPart
from clip_assets.node.pipeline import Pipeline
from clip_assets.node.program import explained, program
from clip_assets.node.progress import ProgressWriter, State
from clip_assets.node.stages import limiting
from clip_assets.source import DamagedError, ImageRef, Source
from clip_assets.source.open import open_source
from clip_assets.store import commit as commits
from clip_assets.store import parquet, paths
from clip_assets.store.commit import Commit
from clip_assets.store.erased import erased
from clip_assets.store.objects import Objects
from clip_assets.store.parquet import RejectKind
from clip_assets.store.paths import ShardVersion
from clip_assets.store.rejects import rejects_message, too_many


def run(objects: Objects, job: EmbedJob, model: Encoder | None = None) -> int:
    """Embed every shard of the job; returns how many reject more images than the job allows.

    Such shards are committed like the others. An error ends the job, because it would affect the
    next shard, too. `model` is the job's model, if it is already loaded. Raises ClipAssetsError.
    """
    head = catalog.require(objects, job.collection)
    shards = head.pick(job.shards)
    progress = ProgressWriter(objects, job, images=sum(shard.live for shard in shards))
    try:
        model = model or encoders.load(job.model, *encoders.every_gpu())
        progress.say(f"{model.identity.short} on {model.device_name}, {len(shards)} shards")
        gone, source = erased(objects).sha256s, open_source(head.source)
        with Pipeline(model, job.batch_size) as pipeline:
            progress.watch(pipeline.stages)
            work = _Work(
                objects, job, model, source, progress, gone, head.columns, pipeline, _Clock()
            )
            return work.embed(shards)
    finally:
        progress.close()


class _Clock:
    """Measures seconds between the ends of shards, because shards overlap."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def lap(self) -> float:
        before, self._since = self._since, time.monotonic()
        return round(self._since - before, 3)


@dataclass(frozen=True)
class _BegunShard:
    """A shard whose parts are being read or already exist, or its commit if it has one."""

    shard: Shard
    commit: Commit | None
    attempt: int = 0
    refs: list[ImageRef] = field(default_factory=list)
    before: Earlier | None = None
    parts: list[BegunPart | FinishedPart] = field(default_factory=list)


@dataclass(frozen=True)
class _Work:
    """The state of a running job that all its shards share."""

    objects: Objects
    job: EmbedJob
    model: Encoder
    source: Source
    progress: ProgressWriter
    erased: frozenset[str]
    columns: Mapping[str, Column]
    pipeline: Pipeline
    clock: _Clock

    def embed(self, shards: Sequence[Shard]) -> int:
        """Commit each shard that is not committed; returns how many reject too many images.

        While a shard is encoded, the next one is read; while it is written, the next is encoded.
        """
        endings = []
        begun: _BegunShard | None = None
        for shard in (*shards, None):
            try:
                following = self._begin(shard) if shard else None
            finally:  # if this shard fails, the previous one is still committed
                if begun:
                    endings.append(self._encode(begun))
            begun = following
        return sum(not ending.result() for ending in endings)

    def _begin(self, shard: Shard) -> _BegunShard:
        """Begin to read a shard's parts. A commit that lacks unreadable images is made again once
        one of them can be read."""
        commit = commits.read(self.objects, self.job.model.slug, shard.at)
        if commit:
            self._require_same_model(commit)
        if commit and not (commit.unreadable and self._readable_again(shard, commit)):
            return _BegunShard(shard, commit)
        attempt = commit.attempt + 1 if commit else 0
        slug, at = self.job.model.slug, shard.at._replace(attempt=attempt)
        refs = catalog.live_refs(catalog.read_shard(self.objects, shard.at))
        before = None
        if not shard.renewed:
            before = earlier(
                self.objects,
                slug,
                shard.shard,
                self.model.identity,
                CODE_VERSION,
                columns=self.columns,
            )
        starts = range(0, max(len(refs), 1), self.job.part_rows)
        begun = [
            self._begin_part(
                paths.part(slug, at, number), refs[start : start + self.job.part_rows], before
            )
            for number, start in enumerate(starts)
        ]
        return _BegunShard(shard, None, attempt, refs, before, begun)

    def _encode(self, begun: _BegunShard) -> Future[bool]:
        """Returns a future that is true if the shard rejects few enough images."""
        parts_made: list[Future[FinishedPart] | FinishedPart] = []
        for part in begun.parts:
            if isinstance(part, BegunPart):
                parts.encode(part)
                finish = partial(parts.finish, self.objects, part)
                parts_made.append(self.pipeline.write(finish))
            else:
                parts_made.append(part)
        return self.pipeline.write(partial(self._end, begun, parts_made))

    def _end(
        self, begun: _BegunShard, parts_made: list[Future[FinishedPart] | FinishedPart]
    ) -> bool:
        """Commit the shard; returns False if it rejects too many images."""
        commit = begun.commit
        state: State = "unchanged"
        if commit is None:
            finished = [
                part if isinstance(part, FinishedPart) else part.result() for part in parts_made
            ]
            with self.pipeline.stages.busy("write"):
                commit = self._committed(begun, finished)
            state = "committed"
        else:
            self.progress.images(begun.shard.live, encoded=False)
        message = rejects_message(self.objects, commit, self.job.max_reject_share)
        self.progress.shard(begun.shard.shard, state, message)
        return not too_many(commit, self.job.max_reject_share)

    def _readable_again(self, shard: Shard, commit: Commit) -> bool:
        rejects = commits.read_part(self.objects, commit.rejects).to_pylist()
        unread = {row["image_id"] for row in rejects if row["kind"] == RejectKind.UNREADABLE}
        rows = catalog.read_shard(self.objects, shard.at)
        refs = [ref for ref in catalog.live_refs(rows) if ref.image_id in unread]
        return any(isinstance(data, bytes | DamagedError) for data in self.source.read(refs))

    def _committed(self, begun: _BegunShard, made: list[FinishedPart]) -> Commit:
        slug, at = self.job.model.slug, begun.shard.at._replace(attempt=begun.attempt)
        finished = [
            part if part.unwritten is None
            else parts.stored(self.objects, part, part.unwritten, self.model)
            for part in made
        ]  # fmt: skip
        queries = text_queries.table(begun.refs, self.model)
        commit = self._commit(begun.shard, at, finished, queries)
        carried = sum(part.carried for part in finished)
        spent = self.pipeline.stages.take()
        counts = {
            "seconds": self.clock.lap(),
            "stage_seconds": spent,
            "workers": self.pipeline.workers,
            "limited_by": limiting(spent, self.pipeline.workers),
            "images_encoded": sum(part.encoded for part in finished),
            "images_carried": carried,
            "carried_from": begun.before.path if begun.before and carried else None,
        }
        written = commits.write(self.objects, slug, commit.model_copy(update=counts))
        self._withdraw_if_erased(begun, written)
        return written

    def _withdraw_if_erased(self, begun: _BegunShard, commit: Commit) -> None:
        """Delete the commit if one of its images was erased meanwhile.

        An erasure writes its request before it looks for commits, so either it finds this commit,
        or this finds its request.
        """
        names = {ref.image_id for ref in begun.refs}
        gone = erased(self.objects).image_ids & names
        if not gone:
            return
        parts = (*commit.parts, commit.rejects, commit.queries)
        for path in (commits.path_of(self.job.model.slug, commit), *(part.path for part in parts)):
            self.objects.delete(path)
        raise StoreError(
            f"shard {commit.shard}: {len(gone)} of its images were erased while it was embedded, "
            "so its files were deleted. Run it again; if the erasure was interrupted, complete it "
            f"first with `clip-assets erase {self.job.collection}`."
        )

    def _begin_part(
        self, path: str, refs: list[ImageRef], before: Earlier | None
    ) -> BegunPart | FinishedPart:
        found = parts.find(self.objects, path, self.model)
        if found:
            self.progress.images(len(refs), encoded=False)
            return found
        making = parts.Making(
            self.source,
            self.model,
            self.pipeline,
            self.progress.one_image,
            pipeline_limits(self.job.max_megapixels),
            self.erased,
            before,
            self.columns,
            self.job.thumbnails,
        )
        return parts.begin(path, refs, making)

    def _commit(
        self, shard: Shard, at: ShardVersion, finished: list[FinishedPart], queries: pa.Table
    ) -> Commit:
        rejected = [reject for part in finished for reject in part.rejects]
        kinds = Counter(reject.get("kind") for reject in rejected)
        rows = sum(part.file.rows for part in finished)
        if rows + len(rejected) != shard.live:
            raise StoreError(
                f"shard {shard.shard}: {rows} rows and {len(rejected)} rejects do not add up to "
                f"the catalog's {shard.live} images. Remove its folder and materialize it again."
            )
        slug = self.job.model.slug
        rejects = pa.Table.from_pylist(rejected, schema=parquet.REJECTS)
        mean = np.sum([part.total for part in finished], axis=0) / max(rows, 1)
        unreadable = kinds[RejectKind.UNREADABLE]
        # Another job may find other images unreadable, so its rejects must not replace these.
        name = hashlib.sha256(repr(rejected).encode()).hexdigest()[:8] if unreadable else ""
        return Commit(
            collection=self.job.collection,
            shard=shard.shard,
            version=shard.version,
            catalog_digest=shard.digest,
            identity=self.model.identity,
            parts=tuple(part.file for part in finished),
            rejects=commits.put_part(self.objects, paths.rejects(slug, at, name), rejects),
            queries=commits.put_part(self.objects, paths.queries(slug, at), queries),
            rows=rows,
            rejected=len(rejected),
            run_id=self.job.run_id,
            job_id=self.job.job_id,
            code_version=CODE_VERSION,
            device=self.model.device_name,
            precision=self.job.model.precision,
            mean=tuple(round(float(value), 6) for value in mean),
            attempt=at.attempt,
            unreadable=unreadable,
            erased=kinds[RejectKind.ERASED],
        )

    def _require_same_model(self, found: Commit) -> None:
        require_same(
            self.model.identity,
            found.identity,
            f"The loaded model differs from that of shard {found.shard}, which is committed",
            ", or embed all shards again: "
            f"`clip-assets backfill {self.job.collection} --shards all --again`",
        )


def main(  # noqa: PLR0913 - one parameter an option
    *,
    job: Annotated[
        str | None, typer.Option(help="URI of a job.json, instead of the other options.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="URI of the data folder or bucket prefix.")
    ] = None,
    collection: Annotated[str | None, typer.Option(help="Name of the collection.")] = None,
    shards: Annotated[str, typer.Option(help="all, 7, 0..9 (both included).")] = "all",
    model: Annotated[
        str | None, typer.Option(help="open_clip name, hf-hub:org/repo or local-dir:/path.")
    ] = None,
    pretrained: Annotated[
        str | None, typer.Option(help="open_clip tag or checkpoint file.")
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Precision of the model.")] = "fp32",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images per batch; default: by the device.")
    ] = None,
    max_reject_share: Annotated[
        float, typer.Option(min=0, max=1, help="Exit with 1 if a shard rejects more.")
    ] = 0.01,
) -> None:
    with explained():
        if job:
            objects, asked = jobs.read(job)
        elif data and collection and model:
            objects = Objects(f"{data.rstrip('/')}/{collection}")
            spec = _spec(model, pretrained or None, precision)
            keys = tuple(catalog.select(catalog.require(objects, collection), shards))
            job_id, run_id = jobs.ids_by_hand(spec.slug, keys)
            asked = EmbedJob(
                job_id=job_id,
                run_id=run_id,
                collection=collection,
                model=spec,
                shards=keys,
                batch_size=batch_size,
                max_reject_share=max_reject_share,
            )
        else:
            raise typer.BadParameter("give --job, or --data, --collection and --model")
        too_many_rejects = run(objects, asked)
    # Under Dagster, a check reports too many rejects.
    raise typer.Exit(1 if too_many_rejects and not job else 0)


def _spec(name: str, pretrained: str | None, precision: Precision) -> ModelSpec:
    try:
        return ModelSpec(name=name, pretrained=pretrained, precision=precision)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"]) from error


app = program(main, __doc__)

if __name__ == "__main__":
    app(prog_name="python -m clip_assets.node.embed")
