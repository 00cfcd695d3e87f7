"""`clip-assets judgements`: people's judgements of hits, as CSV."""

from pathlib import Path
from typing import Annotated

import typer

from clip_assets.cli.console import CollectionArgument, errors, explained

judgements_app = typer.Typer(
    no_args_is_help=True,
    help="People's judgements of hits, as CSV.\n\n    clip-assets judgements export photos",
)


@judgements_app.command("export")
def export_judgements(
    collection: CollectionArgument,
    file: Annotated[Path | None, typer.Argument(help="Default: standard output.")] = None,
) -> None:
    """Write a collection's judgements as CSV.

    clip-assets judgements export photos judgements.csv
    """
    from clip_assets.cli.judgements import export_to

    with explained():
        count = export_to(collection, file)
    errors.print(f"{count} judgements.", highlight=False)


@judgements_app.command("import")
def import_judgements(
    collection: CollectionArgument,
    file: Annotated[Path, typer.Argument(help="CSV with the columns that `export` writes.")],
    by: Annotated[str, typer.Option(help="Who judged, for rows that do not say.")] = "",
) -> None:
    """Add the judgements of a CSV file, all or none.

    Each replaces an earlier judgement of the same image for the same query by the same person.

        clip-assets judgements import photos judgements.csv --by "test set of May"
    """
    from clip_assets.cli.judgements import import_from

    with explained():
        count = import_from(collection, file, by)
    errors.print(f"{count} judgements.", highlight=False)
