"""`clip-assets keys`: API keys of the search service."""

from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from clip_assets.cli.console import JsonOption, explained, out, print_json
from clip_assets.keys import KeyFile
from clip_assets.settings import Settings

keys_app = typer.Typer(
    no_args_is_help=True,
    help="API keys of the search service.\n\n    clip-assets keys add website",
)


@keys_app.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Who will use it.")],
    role: Annotated[
        Literal["search", "judge", "admin"],
        typer.Option(help="judge may also mark hits; admin may do everything."),
    ] = "search",
) -> None:
    """Create a key and print it; it cannot be shown again.

    clip-assets keys add website --role search
    """
    with explained():
        typer.echo(_key_file().add(name, role))


@keys_app.command("list")
def list_keys(as_json: JsonOption = False) -> None:
    """List the valid keys, without their secrets.

    clip-assets keys list
    """
    with explained():
        found = _key_file().keys()
    if as_json:
        return print_json([key.model_dump(mode="json", exclude={"sha256"}) for key in found])
    table = Table("id", "name", "role", "added")
    for key in found:
        table.add_row(key.id, escape(key.name), key.role, f"{key.added_at:%Y-%m-%d %H:%M}")
    return out.print(table if found else "There are no keys.")


@keys_app.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="The id that `list` shows.")]) -> None:
    """Revoke a key at once, for every service that reads the key file.

    clip-assets keys revoke 1a2b3c4d
    """
    with explained():
        key = _key_file().revoke(key_id)
    out.print(f"Revoked {key.id} of {escape(key.name)}.", highlight=False)


def _key_file() -> KeyFile:
    return KeyFile(Settings().keys_file)
