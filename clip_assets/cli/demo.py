"""`clip-assets demo`: runs everything on the bundled sample until Ctrl-C."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx
from rich.console import Console

from clip_assets import catalog, project
from clip_assets.errors import ClipAssetsError, SettingsError
from clip_assets.postgres.address import without_password
from clip_assets.postgres.connect import connect_owner, connect_reader, database_dsn
from clip_assets.project import Project
from clip_assets.settings import Settings
from clip_assets.source.open import open_source
from clip_assets.status import collection_status
from clip_assets.store.objects import Objects

COLLECTION = "sample"
FIRST_QUERY = "red heart"
EXAMPLES = ["a photo of a cloud", "a red heart", "flag of Japan", "birthday cake", "a cat"]
NOTE = (
    "This demo's small model was trained only on emoji and flags; docs/models.md explains "
    "how to use a real one, such as ViT-B-16-SigLIP or ViT-B-32."
)
_START_SECONDS = 900  # enough on a machine that is busy with other work
_LOG_LINES = 20
_STOP_SECONDS = 15


class Demo:
    """The processes of one demo. Leaving `run` in any way stops everything it started."""

    def __init__(self, settings: Settings, out: Console, port: int = 8000) -> None:
        self._project = _checkout()
        self.settings, self.out, self._port = settings, out, port
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._page = ""
        self._logs = settings.folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)

    def run(self, *, exit_after: bool) -> None:
        """Start everything, print the addresses, and run until Ctrl-C unless `exit_after`.

        Raises ClipAssetsError if a process does not start or the first search fails.
        """
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        # A shell makes background jobs ignore SIGINT, and the children would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            dagster_ui, page = self._bring_up()
            self._check_first_query(page)
            self._say_where(dagster_ui, page)
            if not exit_after:
                self._stay()
        except KeyboardInterrupt:
            pass
        finally:
            self._stop()

    def _bring_up(self) -> tuple[str, str]:
        import dagster as dg

        began = time.monotonic()
        with self.out.status("Starting Postgres with pgvector"):
            connect_owner(self.settings).close()
        dagster_port = self._free_port(3000, "the Dagster UI")
        page_port = self._free_port(self._port, "the search page")
        dagster_ui = f"http://127.0.0.1:{dagster_port}"
        page = f"http://127.0.0.1:{page_port}"
        self._page = page
        # Create the storage in one process: parallel creation leaves two migration heads.
        with dg.DagsterInstance.get():
            pass
        self._start("dagster", [_script("dg"), "dev", "--port", str(dagster_port)])
        if self._up_to_date():
            self.out.print("The sample collection is up to date; nothing to compute.")
        else:
            self._backfill()
        self._start(
            "serving",
            [sys.executable, "-m", "clip_assets.serving", "--port", str(page_port)],
            {
                "CLIP_ASSETS_SERVING_DAGSTER_URL": dagster_ui,
                "CLIP_ASSETS_SERVING_COLLECTION": COLLECTION,
                "CLIP_ASSETS_SERVING_EXAMPLES": json.dumps(EXAMPLES),
                "CLIP_ASSETS_SERVING_NOTE": NOTE,
                "CLIP_ASSETS_SERVING_DRAIN_SECONDS": "0",  # a demo has no load balancer
            },
        )
        with self.out.status("Loading the model of the search page"):
            self._wait("serving", f"{page}/readyz")
        with self.out.status("Starting the Dagster UI"):
            self._wait("dagster", f"{dagster_ui}/server_info")
        self.out.print(f"Up after {time.monotonic() - began:.0f} s.")
        return dagster_ui, page

    def _up_to_date(self) -> bool:
        """Whether everything the source lists is embedded, indexed and live; no Dagster needed."""
        objects = Objects(self.settings.collection_uri(COLLECTION))
        with connect_reader(self.settings) as connection:
            found = collection_status(connection, objects, COLLECTION)
        if found is None or not found.current:
            return False
        listed = open_source(found.catalog.source).list()
        return catalog.listing_digest(listed) == found.catalog.listing

    def _backfill(self) -> None:
        command = [sys.executable, "-m", "clip_assets.cli.app", "backfill", COLLECTION]
        if subprocess.run(command, check=False, env=self._environment()).returncode:
            raise ClipAssetsError("The sample collection could not be materialized; see above.")

    def _check_first_query(self, page: str) -> None:
        answer = _post(f"{page}/v1/search", {"text": FIRST_QUERY, "k": 3})
        captions = [hit["caption"] for hit in answer["hits"]]
        right = FIRST_QUERY in captions or answer["release"]["untrained"]
        if len(captions) != 3 or not right:
            raise ClipAssetsError(f"`{FIRST_QUERY}` found {captions}. The index is faulty.")
        self.out.print(f"`{FIRST_QUERY}` found: {', '.join(captions)}.", highlight=False)
        if answer["warning"]:
            self.out.print(f"[yellow]{answer['warning']}[/yellow]")

    def _say_where(self, dagster_ui: str, page: str) -> None:
        self.out.print()
        self.out.print(f"  Search page   {page}/?q={quote_plus(FIRST_QUERY)}", highlight=False)
        self.out.print(f"  Dagster UI    {dagster_ui}/asset-groups", highlight=False)
        self.out.print(
            f"  Postgres      {without_password(database_dsn(self.settings))}",
            highlight=False,
            soft_wrap=True,
        )
        self.out.print(f"  Logs          {self._logs}", highlight=False)
        self.out.print()

    def _stay(self) -> None:
        self.out.print("Ctrl-C stops everything.")
        while True:
            time.sleep(1)
            for name, process in self._started.items():
                if process.poll() is not None:
                    raise ClipAssetsError(f"{name} stopped unexpectedly; see {self._log(name)}.")

    def _start(self, name: str, command: list[str], extra: dict[str, str] | None = None) -> None:
        with self._log(name).open("wb") as log:
            self._started[name] = subprocess.Popen(
                command,
                cwd=self._project.root,
                env={**self._environment(), **(extra or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches only the demo, which stops them in order
            )

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DAGSTER_HOME": os.environ.get("DAGSTER_HOME", str(self.settings.dagster_home)),
            "CLIP_ASSETS_HOME": str(self.settings.folder),
            "CLIP_ASSETS_SEARCH_URL": self.settings.search_url or self._page,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "VIRTUAL_ENV": sys.prefix,
        }

    def _wait(self, name: str, url: str) -> None:
        process = self._started[name]
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                log = self._log(name)
                end = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
                raise ClipAssetsError("\n".join([f"{name} did not start; the end of {log}:", *end]))
            time.sleep(0.2)

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _free_port(self, wanted: int, what: str) -> int:
        for port in range(wanted, wanted + 100):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            if port != wanted:
                self.out.print(f"Port {wanted} is in use; {what} uses {port}.", highlight=False)
            return port
        raise ClipAssetsError(f"No free port from {wanted} on for {what}.")

    def _stop(self) -> None:
        for process in self._started.values():
            _signal_group(process, signal.SIGINT)
        for process in self._started.values():
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)


def _checkout() -> Project:
    """The checkout, which alone has the sample. Raises SettingsError outside of it."""
    found = project.find()
    if found is None or found.root_module != project.CHECKOUT_MODULE:
        raise SettingsError(
            "The demo needs the sample, which is only in the checkout of clip_assets: run "
            "`make demo` there. For your own images: `clip-assets new FOLDER`."
        )
    return found


def _signal_group(process: "subprocess.Popen[bytes]", number: int) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)


def _script(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(url, json=body, timeout=30).raise_for_status().json()
    return answer
