"""Bring Postgres up to the committed embeddings by hand, judge the index and publish it.

    DATABASE_URL=postgresql://db/images python -m clip_assets.cli.index --data s3://bucket/clip \\
        --collection photos --model ViT-B-32 --pretrained laion2b_s34b_b79k --precision fp16

    python -m clip_assets.cli.index --snapshot --data … --collection …      with no database at all

Does what the assets `search_index` and `release` do: only shards that changed are loaded, and
nothing is published that was found wanting. With `--snapshot` a Postgres of its own is started for
as long as it takes, and what remains is an index snapshot for replicas to start from. Exit status:
0 when the release is live, 2 otherwise.
"""

import argparse
import sys
import uuid

import psycopg
from rich.console import Console

from clip_assets import catalog
from clip_assets.errors import ClipAssetsError, StoreError
from clip_assets.index import build, load, tables, thumbnails
from clip_assets.index.vector_type import VectorType
from clip_assets.judge import judge
from clip_assets.judge.judgement import Wanted
from clip_assets.model import ModelSpec
from clip_assets.postgres.connect import connect, connect_owner
from clip_assets.release import release
from clip_assets.search.search import Release
from clip_assets.settings import Settings
from clip_assets.snapshot import make
from clip_assets.snapshot.manifest import FOLDER as SNAPSHOTS
from clip_assets.snapshot.progress import bars
from clip_assets.snapshot.scratch import scratch
from clip_assets.store.objects import Objects


def bring_up(
    connection: psycopg.Connection, arguments: argparse.Namespace
) -> tuple[Release, load.Loaded]:
    """Load, build, judge and publish; the live release and what was loaded for it.

    Raises StoreError if there is no catalog or nothing embedded, ReleaseError if the index may not
    be published.
    """
    objects = Objects(_root(arguments))
    collection, spec, vector_type = arguments.collection, _spec(arguments), arguments.vector_type
    head = catalog.read(objects)
    if head is None:
        raise StoreError(f"{objects.root} has no catalog yet. Run clip_assets.node.catalog first.")
    shards = [shard.at for shard in head.shards]
    loaded = load.reconcile(connection, objects, collection, spec, shards, vector_type=vector_type)
    if loaded.replaced:
        thumbnails.drop_unneeded(connection)
    build.build(connection, loaded.index, head.images, _to_stderr)
    wanted = Wanted(recall=arguments.recall, caption_recall=arguments.caption_recall)
    judge.judge(connection, objects, loaded.index, wanted)
    judge.judge_outgrown(connection, objects, loaded.index, wanted)
    index = tables.find(connection, collection, spec.slug, vector_type)
    live, _ = release.publish(connection, index, f"by-hand-{uuid.uuid4().hex[:8]}")
    return live, loaded


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    arguments = _arguments()
    try:
        live, loaded = _to_snapshot(arguments) if arguments.snapshot else _to_database(arguments)
    except ClipAssetsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    counts = {name: len(getattr(loaded, name)) for name in ("loaded", "unchanged", "missing")}
    print(", ".join(f"{name} {count} shards" for name, count in counts.items()))
    print(f"release {live.id} is live: {live.rows} images by {live.identity.short}")
    return 0


def _to_database(arguments: argparse.Namespace) -> tuple[Release, load.Loaded]:
    with connect_owner(Settings()) as connection:
        return bring_up(connection, arguments)


def _to_snapshot(arguments: argparse.Namespace) -> tuple[Release, load.Loaded]:
    """Everything in a Postgres that is packed when done; nothing is left running."""
    to = Objects(arguments.to or f"{_root(arguments)}/{SNAPSHOTS}")
    with scratch(Settings().home, make.next_release(to)) as cluster, bars(Console()) as step:
        with connect(cluster.dsn) as connection:
            done = bring_up(connection, arguments)
        made = make.seal(cluster, arguments.collection, to, step)
    print(f"snapshot: {to.uri(made.snapshot)}")
    return done


def _root(arguments: argparse.Namespace) -> str:
    return f"{arguments.data.rstrip('/')}/{arguments.collection}"


def _spec(arguments: argparse.Namespace) -> ModelSpec:
    return ModelSpec(
        name=arguments.model,
        pretrained=arguments.pretrained or None,
        precision=arguments.precision,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m clip_assets.cli.index",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="URI of the data folder or bucket prefix")
    parser.add_argument("--collection", required=True)
    parser.add_argument("--model", required=True, help="as the embeddings were made with")
    parser.add_argument("--pretrained", help="as the embeddings were made with")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"])
    parser.add_argument(
        "--vector-type", type=VectorType, default=VectorType.HALFVEC, choices=[*VectorType],
        help="what pgvector stores; vector takes twice the space",
    )  # fmt: skip
    parser.add_argument("--recall", type=float, default=0.95, help="recall@10 to be exceeded")
    parser.add_argument("--caption-recall", type=float, help="share of captions to find their own")
    parser.add_argument("--snapshot", action="store_true", help="make an index snapshot instead")
    parser.add_argument("--to", help="folder or prefix of the snapshots; default: beside the data")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
