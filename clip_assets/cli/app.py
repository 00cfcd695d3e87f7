"""The command line: `clip-assets --help`."""

import os
import signal
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.markup import escape
from rich.table import Column, Table

from clip_assets import project
from clip_assets.cli.console import (
    CollectionArgument,
    JsonOption,
    ModelOption,
    errors,
    explained,
    out,
    print_error,
    print_json,
)
from clip_assets.cli.dagster_home import dagster_used, prepare_dagster_home
from clip_assets.cli.judgements_app import judgements_app
from clip_assets.cli.keys_app import keys_app
from clip_assets.cli.sky_app import sky_app
from clip_assets.errors import ClipAssetsError
from clip_assets.home import expanded
from clip_assets.model import Precision
from clip_assets.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Search a collection of images by text or by image, and trace every hit to its source.",
)
app.add_typer(sky_app, name="sky")
app.add_typer(keys_app, name="keys")
app.add_typer(judgements_app, name="judgements")
_EXTRAS = {"dagster": "dagster", "psycopg": "index", "uvicorn": "serve", "sky": "sky"}
"""The extra that installs each package which a command may fail to import."""


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"clip-assets {version('clip-assets')}")
        raise typer.Exit


@app.callback()
def _before_every_command(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit."),
    ] = False,
    in_project: Annotated[
        Path | None,
        typer.Option(
            "--project",
            envvar=project.VARIABLE,
            help="The Dagster project to use; default: the one that the current folder is in.",
        ),
    ] = None,
) -> None:
    if in_project is not None:
        # Absolute, because processes that the command starts may run in another folder.
        os.environ[project.VARIABLE] = str(expanded(in_project).resolve())
    # By default these end a process at once, without removing its temporary folders or stopping
    # what it started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup does
            signal.signal(number, _end)


def _interruptible() -> None:
    """Ctrl-C ends the command with status 130, also if a script runs it in the background.

    There, shells make commands and their children ignore SIGINT.
    """
    signal.signal(signal.SIGINT, _end)


def _end(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


@app.command()
def demo(
    exit_after: Annotated[
        bool, typer.Option("--exit", help="Exit with 0 after one correct search.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the search page, or the next free one.")
    ] = 8000,
) -> None:
    """Start Postgres, the Dagster UI and the search page on the bundled sample.

    clip-assets demo

    clip-assets demo --port 9000
    """
    from clip_assets.cli.demo import Demo

    with explained():
        settings = Settings()
        started = Demo(settings, out, port)
        prepare_dagster_home(settings)
        started.run(exit_after=exit_after)


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="The project's folder, which must not exist.")],
) -> None:
    """Create a Dagster project for your own collections.

        clip-assets new photos-search

    Then add a collection with `clip-assets init` in that folder.
    """
    from clip_assets.cli.new import write_project

    with explained():
        made = write_project(folder)
        prepare_dagster_home(Settings(made.root))
    out.print(
        f"Created {made.root}. Next: `cd {folder}`, then `clip-assets init photos ~/Pictures`.",
        markup=False,
        soft_wrap=True,
    )


@app.command()
def init(
    collection: CollectionArgument,
    uri: Annotated[str, typer.Argument(help="Folder, s3://, gs:// or az:// prefix, or hub id.")],
    kind: Annotated[str, typer.Option(help="folder, webdataset or huggingface.")] = "folder",
    model: Annotated[str, typer.Option(help="open_clip model.")] = "ViT-B-32",
    pretrained: Annotated[str, typer.Option(help="Tag or weights file.")] = "laion2b_s34b_b79k",
) -> None:
    """Write the YAML of a new collection; for a Hugging Face dataset, find out its columns.

        clip-assets init photos s3://bucket/photos

        clip-assets init cc3m s3://bucket/cc3m --kind webdataset --model ViT-B-16-SigLIP \\
            --pretrained webli

        clip-assets init beans AI-Lab-Makerere/beans --kind huggingface
    """
    from clip_assets.component.scaffold import write_collection

    with explained():
        path, lines = write_collection(project.require(), collection, uri, kind, model, pretrained)
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    out.print(
        f"Wrote {path}. Next: `clip-assets backfill {collection}`, or materialize it in the UI.",
        markup=False,
        soft_wrap=True,
    )


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Show each collection's progress, SkyPilot cost and freshness.

    clip-assets status

    clip-assets status --json
    """
    from clip_assets.cli.status import print_status, progress_of_all

    with explained():
        settings = Settings()
        if as_json:
            print_json(progress_of_all(settings))
            return
        print_status(settings, out, dagster=dagster_used(settings))


@app.command()
def backfill(
    collection: CollectionArgument,
    shards: Annotated[
        str, typer.Option(help="missing, all, 7, 0..9 (both included), or 0..9,12.")
    ] = "missing",
    model: ModelOption = None,
    again: Annotated[
        bool, typer.Option("--again", help="Embed the shards again, even committed ones.")
    ] = False,
) -> None:
    """Bring a collection up to date: catalog, embeddings, search_index, release.

    Runs the same assets and checks as the UI, and the UI shows the runs. Committed shards are
    embedded again only with --again; the old embeddings answer until the new ones are loaded.

        clip-assets backfill photos

        clip-assets backfill photos --shards 0..9

        clip-assets backfill photos --shards 3 --again
    """
    _interruptible()
    from clip_assets.catalog import require_selection
    from clip_assets.cli.backfill_progress import Asked, backfill_with_progress

    warnings.filterwarnings("ignore", module="dagster")
    with explained():
        settings = Settings()
        require_selection(shards)
        prepare_dagster_home(settings)
        backfill_with_progress(settings, Asked(collection, model, shards, again), out)


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="What to search for.")] = "",
    image: Annotated[Path | None, typer.Option(help="An image file to search with.")] = None,
    collection: Annotated[
        str | None, typer.Option(help="Needed if there are several collections.")
    ] = None,
    k: Annotated[int, typer.Option(min=1, max=100, help="How many images to find.")] = 10,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="A condition on a declared column: NAME=VALUE, NAME>=VALUE or NAME<=VALUE. If "
            "repeated, values of the same column are alternatives; all other conditions must hold.",
        ),
    ] = None,
    given: Annotated[
        str | None, typer.Option("--filter", help="A filter as in the HTTP API, in JSON.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search the live release by text or by image.

    clip-assets search "a photo of a cloud"

    clip-assets search "a dog" --where label=beagle --where "price<=20"

    clip-assets search --image cat.jpg --k 5 --json
    """
    from clip_assets.cli.search import search_live
    from clip_assets.cli.where import filter_of

    with explained():
        only = filter_of(where or (), given)
        release, found = search_live(Settings(), collection, text, image, k, only)
    if as_json:
        hits = [{**hit._asdict(), "lineage": hit.lineage._asdict()} for hit in found.hits]
        print_json({"release": release.id, "hits": hits, "complete": found.complete})
        return
    if release.identity.untrained:
        out.print("[yellow]untrained model: results are meaningless[/yellow]")
    table = Table("score", Column("image", overflow="fold"), "caption", "shard", "run", "sha256")
    for hit in found.hits:
        line = hit.lineage
        table.add_row(
            f"{hit.score:.3f}", escape(hit.image_id), escape(hit.caption or ""), line.shard,
            line.run_id[:8], hit.sha256[:12],
        )  # fmt: skip
    out.print(table)
    if not found.complete:
        out.print("Search stopped at its limit; more images may match.", style="yellow")
    out.print(f"release {release.id} by {release.identity.short}", style="dim", highlight=False)


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="DuckDB SQL over `embeddings`.")],
    *,
    collection: Annotated[
        str | None, typer.Option(help="Needed if there are several collections.")
    ] = None,
    model: ModelOption = None,
    postgres: Annotated[
        bool, typer.Option("--postgres", help="Also attach Postgres, as `postgres.…`.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Query the parquet with DuckDB; `clip_text(…)` and `clip_image(…)` make query vectors.

    clip-assets sql "SELECT image_id, score FROM search(clip_text('a photo of a cloud'), 5)"

    clip-assets sql "SELECT shard, count(*) FROM embeddings GROUP BY shard" --csv
    """
    import duckdb

    from clip_assets.cli.sql import rows_of, write_csv
    from clip_assets.lake.lake import attach_postgres, open_lake
    from clip_assets.postgres.connect import reader_dsn

    with explained(), open_lake(Settings(), collection, model) as database:
        if postgres:
            attach_postgres(database, reader_dsn(Settings()))
        try:
            relation = database.sql(statement)
            if relation is not None:
                if as_json:
                    print_json(rows_of(relation))
                elif as_csv:
                    write_csv(relation, sys.stdout)
                else:
                    relation.show(max_width=out.width)
        except duckdb.Error as error:
            raise ClipAssetsError(str(error).strip()) from error


@app.command()
def index(
    collection: CollectionArgument,
    *,
    model: Annotated[str, typer.Option(help="The model that made the embeddings.")],
    pretrained: Annotated[str, typer.Option(help="Its tag or weights file.")] = "",
    precision: Annotated[Precision, typer.Option(help="Its precision.")] = "fp32",
    data: Annotated[
        str | None, typer.Option(help="Data folder or bucket prefix; default: CLIP_ASSETS_DATA.")
    ] = None,
    vector_type: Annotated[
        Literal["halfvec", "vector"],
        typer.Option(help="The pgvector type to store; vector takes twice the space."),
    ] = "halfvec",
    recall: Annotated[
        float, typer.Option(min=0, max=1, help="Publish only if recall@10 reaches this.")
    ] = 0.95,
    caption_recall: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Required share of captions that find their image."),
    ] = None,
    judged_fall: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share by which its nDCG@10, by people's judgements, may be below the live one's.",
        ),
    ] = None,
    keep: Annotated[
        int, typer.Option(min=2, help="Indexes to keep: the live one and those kept for rollback.")
    ] = 3,
    to_snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Make a snapshot instead; needs no database.")
    ] = False,
    to: Annotated[
        str | None, typer.Option(help="Snapshot folder or prefix; default: next to the parquet.")
    ] = None,
) -> None:
    """Update the index from the committed embeddings, judge and publish it, without Dagster.

    Does the work of the assets `search_index` and `release`, in the database at DATABASE_URL.

        clip-assets index photos --model ViT-B-32 --pretrained laion2b_s34b_b79k

        clip-assets index photos --data s3://bucket/clip --model ViT-B-32 \\
            --pretrained laion2b_s34b_b79k --precision fp16 --snapshot
    """
    from clip_assets.cli.index import index_to_database, index_to_snapshot, model_spec
    from clip_assets.index.vector_type import VectorType
    from clip_assets.judge.judgement import Wanted
    from clip_assets.release.update import ReleaseSpec
    from clip_assets.store.objects import Objects

    report = partial(typer.echo, err=True)
    with explained():
        settings = Settings(data=data) if data else Settings()
        objects = Objects(settings.collection_uri(collection))
        spec = ReleaseSpec(
            collection,
            model_spec(model, pretrained, precision),
            VectorType(vector_type),
            wanted=Wanted(recall=recall, caption_recall=caption_recall, judged_fall=judged_fall),
            keep_indexes=keep,
        )
        if to_snapshot:
            done = index_to_snapshot(objects, spec, to, report)
        else:
            done = index_to_database(objects, spec, report)
    for line in done.lines:
        typer.echo(line)


@app.command()
def snapshot(
    collection: CollectionArgument,
    to: Annotated[
        str | None, typer.Option(help="Folder or bucket prefix; default: next to the parquet.")
    ] = None,
) -> None:
    """Pack the live release into the bucket, for replicas that start without a database.

    clip-assets snapshot photos

    clip-assets snapshot photos --to s3://bucket/snapshots/photos
    """
    from clip_assets.postgres.connect import connect_reader
    from clip_assets.snapshot import make
    from clip_assets.snapshot.manifest import FOLDER
    from clip_assets.snapshot.progress import bars
    from clip_assets.store.objects import Objects

    with explained():
        settings = Settings()
        with connect_reader(settings) as connection, bars(out) as step:
            target = Objects(to or f"{settings.collection_uri(collection)}/{FOLDER}")
            made = make.make(connection, settings, collection, target, step)
    out.print(
        f"{target.uri(made.snapshot)}: release {made.release}, {made.rows} images, "
        f"{sum(piece.bytes for piece in made.pieces) >> 20} MiB. "
        f"Start a replica with `clip-assets serve --snapshot {target.root}`.",
        soft_wrap=True,
        highlight=False,
    )


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option()] = 8000,
    collection: Annotated[str | None, typer.Option(help="Default: the one released first.")] = None,
    auth: Annotated[
        bool | None,
        typer.Option(help="Require API keys. Default: on every address except loopback."),
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option(help="Serve this snapshot, or the newest one in this folder or prefix."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that share the port and the model.", min=1)
    ] = None,
) -> None:
    """Serve the search API and the search page over HTTP.

    clip-assets serve --collection photos

    clip-assets serve --host 0.0.0.0 --no-auth --snapshot s3://bucket/clip/photos/snapshots
    """
    import uvicorn  # noqa: F401 - if it is missing, `main` names the extra to install

    command = [sys.executable, "-m", "clip_assets.serving", "--host", host, "--port", str(port)]
    command += ["--collection", collection] if collection else []
    command += [] if auth is None else ["--auth" if auth else "--no-auth"]
    command += ["--snapshot", snapshot] if snapshot else []
    command += ["--workers", str(workers)] if workers else []
    os.execv(sys.executable, command)  # noqa: S606 - signals must reach the server itself


@app.command()
def migrate() -> None:
    """Apply pending migrations to the database; commands that write do this automatically.

    Run it as the schema owner before you upgrade read-only services.

    clip-assets migrate
    """
    from clip_assets.postgres.connect import connect, database_dsn
    from clip_assets.postgres.migrate import migrate as apply

    with explained(), connect(database_dsn(Settings())) as connection:
        applied = apply(connection)
    for migration in applied:
        out.print(f"Applied migration {migration.number}: {migration.name}.", highlight=False)
    if not applied:
        out.print("No migrations are pending.")


@app.command()
def rollback(collection: CollectionArgument) -> None:
    """Return to the previously live release, in one transaction.

    clip-assets rollback photos
    """
    from clip_assets.postgres.connect import connect_owner
    from clip_assets.release.release import roll_back

    settings = Settings()
    with explained(), connect_owner(settings) as connection:
        live = roll_back(connection, collection)
    if dagster_used(settings):
        import dagster as dg

        from clip_assets.assets.live import report_live

        with dg.DagsterInstance.get() as instance:
            report_live(instance, live)
    out.print(f"Release {live.id} by {live.identity.short} is live.")


@app.command()
def duplicates(
    collection: CollectionArgument,
    from_cosine: Annotated[
        float, typer.Option(min=0.5, max=1, help="Minimum similarity of near-duplicates.")
    ] = 0.97,
    model: ModelOption = None,
) -> None:
    """List duplicate images: identical files, and pairs with similar embeddings.

    clip-assets duplicates photos

    clip-assets duplicates photos --from-cosine 0.9
    """
    from clip_assets.lake.duplicates import find
    from clip_assets.lake.lake import Lake
    from clip_assets.store.objects import Objects

    with explained():
        objects = Objects(Settings().collection_uri(collection))
        found = find(objects, Lake(objects, model).slug, from_cosine)
    table = Table("images", "cosine")
    for group in found.exact:
        table.add_row(escape(", ".join(group)), "same bytes")
    for pair in found.near:
        table.add_row(escape(f"{pair.first}, {pair.second}"), f"{pair.cosine:.4f}")
    out.print(table if table.row_count else "No duplicates.")
    out.print(f"{found.compared} of {found.images} images compared", style="dim", highlight=False)


@app.command()
def erase(
    collection: CollectionArgument,
    image_ids: Annotated[
        list[str] | None, typer.Argument(help="Image ids; omit to complete an interrupted erasure.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Recorded in the receipt.")] = "",
) -> None:
    """Erase images: from search results at once, then from every file; then write a receipt.

    clip-assets erase photos cats/tabby.jpg --reason "asked for by its owner"

    clip-assets erase photos
    """
    from clip_assets.erasure.erase import erase as erase_images
    from clip_assets.postgres.connect import connect_owner
    from clip_assets.store import erased
    from clip_assets.store.objects import Objects

    with explained():
        settings = Settings()
        objects = Objects(settings.collection_uri(collection))
        with connect_owner(settings) as connection:
            receipts = erase_images(connection, objects, image_ids or [], reason, out.print)
    for receipt in receipts:
        path = objects.uri(erased.receipt_path(receipt.request.erasure))
        out.print(f"Receipt: {path}", soft_wrap=True, highlight=False)
    if not receipts:
        out.print(f"No erasure of {collection} was interrupted.")


@app.command()
def drop(
    collection: CollectionArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete all data of a collection that no YAML defines any more, and write a receipt.

    First lists what it will delete and asks: releases, indexes, the SQL schema, files, and
    Dagster's record. The images in the source stay.

        clip-assets drop photos
    """
    from clip_assets.cli.drop import drop_collection
    from clip_assets.erasure.drop import Belongings

    def confirm(had: Belongings) -> bool:
        out.print(f"This permanently deletes, of {collection}:")
        for line in had.lines:
            out.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
        return yes or typer.confirm("Delete?")

    with explained():
        settings = Settings()
        receipt = drop_collection(settings, collection, confirm, dagster=dagster_used(settings))
    message = f"Receipt: {receipt}" if receipt else "Nothing was deleted."
    out.print(message, markup=False, highlight=False, soft_wrap=True)


@app.command()
def sweep(
    collection: CollectionArgument,
    keep_days: Annotated[
        float, typer.Option(min=0, help="Keep versions replaced less than this many days ago.")
    ] = 7,
) -> None:
    """Delete the files of replaced shard versions.

    Keeps the newest version of each shard, and every version that an index has rows of: the live
    index, and those that a rollback can return to.

        clip-assets sweep photos

        clip-assets sweep photos --keep-days 30
    """
    from datetime import timedelta

    from clip_assets.postgres.connect import connect_owner
    from clip_assets.release.sweep import sweep as sweep_files
    from clip_assets.store.objects import Objects

    with explained():
        settings = Settings()
        objects = Objects(settings.collection_uri(collection))
        with connect_owner(settings) as connection:
            swept = sweep_files(connection, objects, collection, timedelta(days=keep_days))
    out.print(f"{collection}: {swept}.", markup=False, highlight=False, soft_wrap=True)


@app.command()
def verify(
    collection: Annotated[str | None, typer.Argument(help="Default: all collections.")] = None,
    sample: Annotated[
        int, typer.Option(min=0, help="Images to read from the source and embed again.")
    ] = 16,
    seed: Annotated[int | None, typer.Option(help="Seed of the sample; default: random.")] = None,
    mend: Annotated[
        bool, typer.Option("--repair", help="Repair what can be rebuilt from sound files.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Prove that nothing is lost: compare source, catalog, files, indexes and release.

    Reads every file and every row, and embeds a sample of the images again. Exit status: 0 if
    all is sound, 1 if there is a fault; images that are not embedded yet are not a fault.

        clip-assets verify

        clip-assets verify photos --sample 100 --json

        clip-assets verify photos --repair
    """
    from clip_assets.cli.verify import as_json as finding_as_json
    from clip_assets.cli.verify import named_or_all, print_finding, sample_of, verify_collection

    chosen, found = sample_of(sample, seed), {}
    with explained():
        settings = Settings()
        for name in named_or_all(settings, collection):
            found[name] = verify_collection(settings, name, chosen, errors, mend=mend)
            if not as_json:
                print_finding(name, chosen, found[name], out)
    if as_json:
        print_json([finding_as_json(name, chosen, one) for name, one in found.items()])
    if any(one.faults for one in found.values()):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line. If a command's packages are not installed, name the extra."""
    try:
        with explained():
            try:
                app()
            finally:
                sys.stdout.flush()  # now, because an error at exit could not be explained
    except typer.Exit as ended:
        sys.exit(ended.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        print_error(f"{error.name} is not installed. Run: pip install 'clip-assets[{extra}]'")
        sys.exit(1)


if __name__ == "__main__":
    main()
