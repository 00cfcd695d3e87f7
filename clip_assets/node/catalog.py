"""Create or refresh a collection's catalog, before launching jobs without Dagster.

    python -m clip_assets.node.catalog --data s3://bucket/clip --collection photos \\
        --type folder --uri s3://bucket/photos

Prints the number of images and shards, so that you can give each job a range of shards.
"""

import argparse
import sys

from clip_assets import catalog
from clip_assets.errors import ClipAssetsError
from clip_assets.source import source_config
from clip_assets.source.open import open_source
from clip_assets.store.objects import Objects


def main() -> int:
    arguments = _arguments()
    try:
        source = source_config(arguments.type, arguments.uri)
        objects = Objects(f"{arguments.data.rstrip('/')}/{arguments.collection}")
        head = catalog.refresh(
            objects, arguments.collection, source, open_source(source).list(), arguments.shard_size
        )
    except ClipAssetsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    last = len(head.shards) - 1
    print(f"{head.images} images in {len(head.shards)} shards: --shards 0..{last}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m clip_assets.node.catalog",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="URI of the data folder or bucket prefix")
    parser.add_argument("--collection", required=True)
    parser.add_argument("--type", default="folder", choices=["folder", "webdataset", "huggingface"])
    parser.add_argument("--uri", required=True, help="address of the images, or a hub dataset id")
    parser.add_argument("--shard-size", type=int, default=10_000, help="images per shard")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
