"""A project of two collections, whose backfills are killed and stopped in mid-job."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from clip_assets.dagster_private import runs_with_slots
from tests.acceptance.dagster_api import Dagster
from tests.acceptance.dagster_project import dg_dev

_COMMAND = f"{sys.executable} -m clip_assets.cli.app"
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 600


@dataclass(frozen=True)
class Workplace:
    """A project of a large and a small collection, and its environment."""

    folder: Path
    env: dict[str, str]

    def commits(self, collection: str) -> int:
        root = self.folder / "home/data" / collection / "embeddings"
        return len([*root.glob("*/*/*/commit.json")])

    @contextmanager
    def backfill(self, collection: str) -> Iterator["subprocess.Popen[str]"]:
        """The command as a script's background job: SIGINT ignored, in its own process group."""
        with subprocess.Popen(
            ["sh", "-c", f'trap "" INT; exec {_COMMAND} backfill "$0"', collection],
            cwd=self.folder / "project", env=self.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def dagster(self) -> Iterator[Dagster]:
        """`dg dev`, stopped at the end as by Ctrl-C."""
        with dg_dev(self.folder / "project", self.env, self.folder / "dg_dev.log") as dagster:
            yield dagster

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.from_config(self.env["DAGSTER_HOME"]) as instance:
            yield instance

    def newest_run(self) -> dg.DagsterRun:
        with self.instance() as instance:
            (run,) = instance.get_runs(limit=1)
        return run

    def slots_held(self) -> set[str]:
        with self.instance() as instance:
            return runs_with_slots(instance)

    def wait_for_a_commit(self) -> None:
        """Wait until one more shard of `large` is committed."""
        before = self.commits("large")
        until = time.monotonic() + _PATIENCE_SECONDS
        while self.commits("large") == before:
            assert time.monotonic() < until, f"no shard was committed in {_PATIENCE_SECONDS} s"
            time.sleep(_POLL_SECONDS)
