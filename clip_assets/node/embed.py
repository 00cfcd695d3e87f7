"""Embed the shards of a job: decode, encode, write parts, commit.

    python -m clip_assets.node.embed --job DATA/COLLECTION/jobs/ID/job.json
    python -m clip_assets.node.embed --data DATA --collection photos --shards 0..9 \\
        --model ViT-B-32 --pretrained laion2b_s34b_b79k

Runs the same under Dagster, under SkyPilot and by hand. A job that dies is started again with
the same arguments and redoes at most one part. Exit status: 0 when every shard is committed,
1 when some failed (the others are committed), 2 when nothing could start.
"""

import argparse
import hashlib
import sys
import time
import uuid
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from clip_assets import catalog
from clip_assets.catalog import Catalog, Shard
from clip_assets.errors import ClipAssetsError, StoreError, TooManyRejectsError
from clip_assets.model import ModelSpec, require_same
from clip_assets.node import encoder as encoders
from clip_assets.node import job as jobs
from clip_assets.node import parts
from clip_assets.node import queries as text_queries
from clip_assets.node.encoder import Encoder
from clip_assets.node.job import EmbedJob
from clip_assets.node.parts import FinishedPart
from clip_assets.node.report import Report
from clip_assets.source import ImageRef, Source
from clip_assets.source.open import open_source
from clip_assets.store import commit as commits
from clip_assets.store import parquet, paths
from clip_assets.store.commit import Commit, Part
from clip_assets.store.erased import erased
from clip_assets.store.objects import Objects

CODE_VERSION = "1"
"""Raised when the same images and weights would give other parquet."""


def run(objects: Objects, job: EmbedJob) -> int:
    """Embed every shard of the job; returns how many failed.

    A shard with too many rejects fails alone; anything else wrong ends the job, since it would
    befall the next shard too. Raises ClipAssetsError.
    """
    head = _head(objects)
    shards = head.pick(job.shards)
    report = Report(objects, job, images=sum(shard.live for shard in shards))
    try:
        model = encoders.load(job.model)
        report.say(f"{model.identity.short} on {model.device_name}, {len(shards)} shards")
        gone = erased(objects).sha256s
        work = _Work(objects, job, model, open_source(head.source), report, gone)
        return sum(not work.finish(shard) for shard in shards)
    finally:
        report.close()


@dataclass(frozen=True)
class _Work:
    """One job at work: what stays the same from shard to shard."""

    objects: Objects
    job: EmbedJob
    model: Encoder
    source: Source
    report: Report
    erased: frozenset[str]

    def finish(self, shard: Shard) -> bool:
        """Commit the shard, or find it committed; False if it failed."""
        found = commits.read(self.objects, self.job.model.slug, shard.at)
        if found:
            self._require_same_model(found)
            self.report.images(shard.live, encoded=False)
            self.report.shard(shard.shard, "unchanged")
            return True
        try:
            self._embed(shard)
        except TooManyRejectsError as error:
            self.report.shard(shard.shard, "failed", str(error))
            return False
        self.report.shard(shard.shard, "committed")
        return True

    def _embed(self, shard: Shard) -> None:
        started = time.monotonic()
        refs = catalog.live_refs(catalog.read_shard(self.objects, shard.at))
        encoded = 0
        finished: list[FinishedPart] = []
        for number, start in enumerate(range(0, max(len(refs), 1), self.job.part_rows)):
            chunk = refs[start : start + self.job.part_rows]
            part, fresh = self._part(shard, number, chunk)
            finished.append(part)
            encoded += part.file.rows if fresh else 0
        self._refuse_many_rejects(shard, finished)
        queries = text_queries.table(refs, self.model)
        commit = self._commit(shard, finished, queries)
        seconds = round(time.monotonic() - started, 3)
        commits.write(
            self.objects,
            self.job.model.slug,
            commit.model_copy(update={"seconds": seconds, "images_encoded": encoded}),
        )

    def _part(self, shard: Shard, number: int, refs: list[ImageRef]) -> tuple[FinishedPart, bool]:
        """The part, and whether it was embedded now."""
        path = paths.part(self.job.model.slug, shard.at, number)
        found = parts.find(self.objects, path, self.model)
        if found:
            self.report.images(len(refs), encoded=False)
            return found, False
        making = parts.Making(
            self.source, self.model, self.job.batch_size, self.report.one_image, self.erased
        )
        return parts.embed(self.objects, path, refs, making), True

    def _commit(self, shard: Shard, finished: list[FinishedPart], queries: pa.Table) -> Commit:
        rejected = [reject for part in finished for reject in part.rejects]
        rows = sum(part.file.rows for part in finished)
        if rows + len(rejected) != shard.live:
            raise StoreError(
                f"shard {shard.shard}: {rows} rows and {len(rejected)} rejects do not make the "
                f"catalog's {shard.live} images. Remove its folder and materialize it again."
            )
        slug = self.job.model.slug
        rejects = pa.Table.from_pylist(rejected, schema=parquet.REJECTS)
        mean = np.sum([part.total for part in finished], axis=0) / max(rows, 1)
        return Commit(
            collection=self.job.collection,
            shard=shard.shard,
            version=shard.version,
            catalog_digest=shard.digest,
            identity=self.model.identity,
            parts=tuple(part.file for part in finished),
            rejects=self._put(paths.rejects(slug, shard.at), rejects),
            queries=self._put(paths.queries(slug, shard.at), queries),
            rows=rows,
            rejected=len(rejected),
            run_id=self.job.run_id,
            job_id=self.job.job_id,
            code_version=CODE_VERSION,
            device=self.model.device_name,
            precision=self.job.model.precision,
            mean=tuple(round(float(value), 6) for value in mean),
        )

    def _put(self, path: str, table: pa.Table) -> Part:
        data = parquet.to_bytes(table)
        self.objects.put(path, data)
        digest = hashlib.sha256(data).hexdigest()
        return Part(path=path, rows=len(table), bytes=len(data), sha256=digest)

    def _refuse_many_rejects(self, shard: Shard, finished: list[FinishedPart]) -> None:
        rejects = [reject for part in finished for reject in part.rejects]
        if len(rejects) <= self.job.max_reject_share * shard.live:
            return
        examples = "; ".join(f"{r['image_id']}: {r['reason']}" for r in rejects[:3])
        raise TooManyRejectsError(
            f"{len(rejects)} of {shard.live} images were rejected, more than max_reject_share "
            f"{self.job.max_reject_share:g} allows ({examples}). Mend the images, or raise the "
            "share if that is what the collection is like; finished parts are kept."
        )

    def _require_same_model(self, found: Commit) -> None:
        require_same(
            self.model.identity,
            found.identity,
            f"The loaded model differs from that of shard {found.shard}, which is committed",
            ", or remove the folder of that shard to embed it again",
        )


def _head(objects: Objects) -> Catalog:
    head = catalog.read(objects)
    if head is None:
        raise StoreError(f"{objects.root} has no catalog yet. Materialize `catalog` first.")
    return head


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m clip_assets.node.embed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--job", help="URI of a job.json; the other options are then not needed")
    parser.add_argument("--data", help="URI of the data folder or bucket prefix")
    parser.add_argument("--collection")
    parser.add_argument("--shards", default="all", help="all, 7, 0..9 (both included)")
    parser.add_argument("--model", help="open_clip name, hf-hub:org/repo or local-dir:/path")
    parser.add_argument("--pretrained", help="tag of open_clip or a checkpoint file")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--max-reject-share", type=float, default=0.01)
    arguments = parser.parse_args()
    if not arguments.job and not (arguments.data and arguments.collection and arguments.model):
        parser.error("give --job, or --data, --collection and --model")
    return arguments


def _job_of(arguments: argparse.Namespace) -> tuple[Objects, EmbedJob]:
    if arguments.job:
        return jobs.read(arguments.job)
    objects = Objects(f"{arguments.data.rstrip('/')}/{arguments.collection}")
    job_id = uuid.uuid4().hex
    return objects, EmbedJob(
        job_id=job_id,
        run_id=f"by-hand-{job_id[:8]}",
        collection=arguments.collection,
        model=ModelSpec(
            name=arguments.model,
            pretrained=arguments.pretrained or None,
            precision=arguments.precision,
        ),
        shards=tuple(catalog.select(_head(objects), arguments.shards)),
        batch_size=arguments.batch_size,
        max_reject_share=arguments.max_reject_share,
    )


def main() -> int:
    arguments = _arguments()
    try:
        objects, job = _job_of(arguments)
        return 1 if run(objects, job) else 0
    except ClipAssetsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
