"""Create or refresh a collection's catalog, before launching jobs without Dagster.

    python -m clip_assets.node.catalog --data s3://bucket/clip --collection photos \\
        --type folder --uri s3://bucket/photos

The predefined collections `imagenet` and `beans` need no address:

    HF_TOKEN=… python -m clip_assets.node.catalog --data s3://bucket/clip --collection imagenet

Prints the number of images and shards, so that you can give each job a range of shards.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer
import yaml

from clip_assets import catalog
from clip_assets.column import require_declarable
from clip_assets.errors import SettingsError
from clip_assets.node.program import explained, program
from clip_assets.source import source_config
from clip_assets.source.config import NOTHING, Knowledge
from clip_assets.source.open import open_source
from clip_assets.source.predefined import predefined
from clip_assets.store.objects import Objects

Type = Literal["folder", "webdataset", "huggingface"]


def main(  # noqa: PLR0913 - one parameter an option
    *,
    data: Annotated[str, typer.Option(help="URI of the data folder or bucket prefix.")],
    collection: Annotated[str, typer.Option(help="Name of the collection.")],
    uri: Annotated[
        str | None, typer.Option(help="Address of the images, or a hub dataset id.")
    ] = None,
    source_type: Annotated[Type, typer.Option("--type", help="Kind of source.")] = "folder",
    shard_size: Annotated[int, typer.Option(min=1, help="Images per shard.")] = 10_000,
    known: Annotated[
        Path | None,
        typer.Option(help="YAML with `columns:`, `captions:` and `metadata:` as in a defs.yaml."),
    ] = None,
    max_vanished_share: Annotated[
        float, typer.Option(min=0, max=1, help="Refuse a listing that lacks a larger share.")
    ] = 0.5,
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="Do nothing if there is a catalog already.")
    ] = False,
) -> None:
    with explained():
        objects = Objects(f"{data.rstrip('/')}/{collection}")
        if if_missing and catalog.read(objects):
            return
        source = source_config(source_type, uri) if uri else predefined(collection)
        knowledge = _knowledge(known)
        images = open_source(source, knowledge)
        head = catalog.refresh(
            objects,
            collection,
            source,
            images.list(),
            shard_size,
            skipped=images.skipped,
            columns=knowledge.columns,
            told=lambda: images.told,
            max_vanished_share=max_vanished_share,
        )
    last = len(head.shards) - 1
    print(f"{head.images} images in {len(head.shards)} shards: --shards 0..{last}")
    for kind, count in head.skipped.items():
        print(f"skipped: {count} {kind}")
    for sentence in head.told.sentences:
        print(sentence)


def _knowledge(file: Path | None) -> Knowledge:
    """The declarations in the file. Raises SettingsError if they are invalid."""
    if file is None:
        return NOTHING
    try:
        knowledge = Knowledge.model_validate(yaml.safe_load(file.read_text()) or {})
        for name, column in knowledge.columns.items():
            require_declarable(name, column)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"The declarations in {file} are invalid: {error}.") from error
    return knowledge


app = program(main, __doc__)

if __name__ == "__main__":
    app(prog_name="python -m clip_assets.node.catalog")
