"""Messages from a job to its run, as objects in a folder."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from dagster_pipes import PipesMessage

from clip_assets.dagster_skypilot import PipesObjectStoreMessageReader
from clip_assets.dagster_skypilot.messages import PipesObjectStoreMessageWriter, open_store

HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("dagster", "sky"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hidden())
from clip_assets.dagster_skypilot.messages import PipesObjectStoreMessageWriter
from clip_assets.dagster_skypilot import PipesObjectStoreMessageWriter
"""


def test_a_recovered_job_appends_its_messages(tmp_path: Path) -> None:
    """Messages of both attempts arrive once, in order, and none overwrites another."""
    handler = SimpleNamespace(handled=[])
    handler.handle_message = handler.handled.append
    reader = PipesObjectStoreMessageReader(open_store(str(tmp_path)), "pipes/job")
    with reader.read_messages(cast(Any, handler)) as params:
        reader.poll()
        for attempt in ("first", "second"):
            with PipesObjectStoreMessageWriter().open(params) as channel:
                for number in range(2):
                    channel.write_message(_message(f"{attempt} {number}"))
            reader.poll()
        reader.poll()
    assert [message["method"] for message in handler.handled] == [
        "first 0", "first 1", "second 0", "second 1",
    ]  # fmt: skip


def test_two_machines_write_at_once(tmp_path: Path) -> None:
    """A preempted machine that still runs overwrites nothing of the one that took its place."""
    store = open_store(str(tmp_path))
    params = {"dagster_skypilot": {"uri": str(tmp_path), "prefix": "pipes/job"}}
    writer = PipesObjectStoreMessageWriter()
    with writer.open(params) as old, writer.open(params) as new:
        for channel in (old, new, old):
            channel.write_message(_message("x"))
    assert len({entry.path for entry in store.list("pipes/job")}) == 3


def test_another_clients_channel_is_used_where_it_asks_for_none(tmp_path: Path) -> None:
    """The same program runs as a local process under Dagster's own client."""
    file = tmp_path / "messages"
    with PipesObjectStoreMessageWriter().open({"path": str(file)}) as channel:
        channel.write_message(_message("opened"))
    assert "opened" in file.read_text()


def test_a_job_needs_neither_dagster_nor_skypilot() -> None:
    """A spot GPU is paid for while it installs."""
    done = subprocess.run([sys.executable, "-c", HIDE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _message(method: str) -> PipesMessage:
    return cast(PipesMessage, {"method": method, "params": None})
