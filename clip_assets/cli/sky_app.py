"""`clip-assets sky`: embedding jobs on SkyPilot, without Dagster."""

import warnings
from pathlib import Path
from typing import Annotated

import typer

from clip_assets.cli.console import CollectionArgument, ModelOption, explained, out
from clip_assets.cli.dagster_home import prepare_dagster_home
from clip_assets.errors import SettingsError
from clip_assets.settings import Settings

sky_app = typer.Typer(
    no_args_is_help=True,
    help="Embedding jobs on SkyPilot, without Dagster.\n\n    clip-assets sky launch photos",
)


@sky_app.command("launch")
def sky_launch(
    collection: CollectionArgument,
    *,
    shards: Annotated[
        str, typer.Option(help="missing, all, 7, 0..9 (both included), or 0..9,12.")
    ] = "missing",
    shards_per_job: Annotated[
        int | None, typer.Option(min=1, help="Default: the collection's shards_per_run.")
    ] = None,
    num_jobs: Annotated[
        int | None, typer.Option(min=1, help="Instead, divide the shards among this many jobs.")
    ] = None,
    model: ModelOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until all jobs end.")] = False,
) -> None:
    """Embed shards in parallel managed jobs, each on the cheapest GPUs available.

    Skips ranges that a job is already working on; committed shards are not embedded again.

        clip-assets sky launch photos

        clip-assets sky launch photos --num-jobs 100

        clip-assets sky launch photos --shards 0..999 --shards-per-job 10 --wait
    """
    from clip_assets.cli.backfill import Backfill
    from clip_assets.cli.sky_launch import by_count, by_size, follow, launch

    warnings.filterwarnings("ignore", module="dagster")
    with explained():
        settings = Settings()
        prepare_dagster_home(settings)
        work = Backfill(settings, collection, model)
        if shards_per_job and num_jobs:
            raise SettingsError("Give --shards-per-job or --num-jobs, not both.")
        chosen = work.chosen(shards)
        if num_jobs:
            ranges = by_count(chosen, num_jobs)
        else:
            ranges = by_size(chosen, shards_per_job or work.collection.shards_per_run)
        launched = launch(work.collection, work.objects, ranges, out)
        if wait:
            follow(work.objects, work.head, launched, out)


@sky_app.command("files")
def sky_files(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist.")],
    *,
    bucket: Annotated[
        bool, typer.Option("--bucket", help="Let SkyPilot create a bucket for the data.")
    ] = False,
) -> None:
    """Write the SkyPilot task files, and a wheel for their machines, for use with `sky` itself.

    clip-assets sky files clip-sky

    cd clip-sky && sky jobs launch compute_vectors.yaml --env DATA=s3://bucket/clip …

    With --bucket, no variable is needed: all task files mount a bucket of yours as DATA.
    """
    from getpass import getuser

    from clip_assets.compute.skypilot.workdir import bucket_name, write_files

    with explained():
        files = write_files(folder, bucket_name(getuser()) if bucket else None)
    for file in files:
        out.print(str(file), highlight=False)
