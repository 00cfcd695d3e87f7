"""Serve the live release: `python -m clip_assets.serving --host 127.0.0.1 --port 8000`."""

import os
import signal
import socket
import sys
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.console import Console

from clip_assets.errors import ClipAssetsError, SettingsError
from clip_assets.keys import KeyFile
from clip_assets.settings import Settings

from . import log
from .connections import allow_open_files
from .server import address, asks_for_keys, listen
from .settings import ServingSettings, from_environment
from .shared_folder import shared_folder

EPILOG = """\b
Examples:
  python -m clip_assets.serving                            on this machine only
  python -m clip_assets.serving --port 9000 --next-port    port 9000, or the next free port
  python -m clip_assets.serving --host 0.0.0.0             for clients with an API key
  python -m clip_assets.serving --snapshot s3://bucket/clip/photos/snapshots
"""


def serve(
    host: Annotated[str, typer.Option(help="0.0.0.0 accepts other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 chooses a free port.", min=0, max=65535)] = 8000,
    next_port: Annotated[bool, typer.Option(help="If in use, try the next ports.")] = False,
    collection: Annotated[str | None, typer.Option(help="Default: the one released first.")] = None,
    auth: Annotated[
        bool | None,
        typer.Option(help="Require API keys. Default: on every address except loopback."),
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option(envvar="CLIP_ASSETS_SNAPSHOT", help="Serve from this index snapshot."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that share the port and the model.", min=1)
    ] = None,
) -> None:
    """Serve search over the live release: an HTTP API and a web page.

    Every limit is a setting, CLIP_ASSETS_SERVING_…; serving/settings.py lists them.
    """
    try:
        settings = from_environment()
        settings.collection = collection or settings.collection
        settings.workers = workers or settings.workers
        if settings.workers > 1:
            log.to_stderr_without_thread()
            _require_processor(settings.device)
        else:
            log.to_stderr()
        # uvicorn raises the signal again when it ends; by default that would skip our cleanup.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup does
            # A terminal that is closed sends it; by default it ends the process at once.
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
        allow_open_files(settings.connections)
        settings.auth = asks_for_keys(
            host, settings.auth or None if auth is None else auth, KeyFile(settings.keys)
        )
        if snapshot:
            settings.dsn = SecretStr(_replica(snapshot))
            settings.read_only = True  # writes to a copy would be lost with it
        listening = listen(host, port, next_port)
    except ClipAssetsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if settings.workers > 1:
        _serve_with_workers(settings, listening)
    else:
        _serve_alone(settings, listening)


def _require_processor(device: str | None) -> None:
    if device not in (None, "cpu"):
        raise SettingsError(
            f"Several workers can share a model on the CPU, not on {device}. Use one worker, or "
            "unset CLIP_ASSETS_SERVING_DEVICE."
        )


def _serve_alone(settings: ServingSettings, listening: socket.socket) -> None:
    from .app import create_app
    from .server import DrainingServer, config_of

    app = create_app(settings)

    def announce(_: DrainingServer) -> None:
        print(f"Search page: {address(listening)}", flush=True)

    config = config_of(app, settings)
    DrainingServer(config, app.state.live, settings.drain_seconds, announce).run([listening])


def _serve_with_workers(settings: ServingSettings, listening: socket.socket) -> None:
    if "encoder_threads" not in settings.model_fields_set:
        settings.encoder_threads = max(1, settings.encoder_threads // settings.workers)
    with shared_folder() as folder:
        # prometheus_client reads this when it is imported; counters are then files in this folder.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        from .supervisor import Supervisor

        status = Supervisor(settings, listening, folder).run()
    raise typer.Exit(status)


def _replica(uri: str) -> str:
    """Address of a local Postgres started from that snapshot."""
    from clip_assets.snapshot import replica
    from clip_assets.snapshot.progress import bars

    with bars(Console(stderr=True)) as step:
        return replica.start(uri, Settings().workplace / "replicas", step)


app = typer.Typer(add_completion=False, rich_markup_mode=None)
app.command(epilog=EPILOG)(serve)

if __name__ == "__main__":
    app(prog_name="python -m clip_assets.serving")
