"""From parquet to a running service without a database: the two commands of the SkyPilot tasks."""

import os
import subprocess
import sys
from pathlib import Path

from clip_assets.model import ModelSpec
from clip_assets.snapshot import manifest
from clip_assets.store.objects import Objects
from tests import web
from tests.integration.serving.support import wait_until_ready
from tests.integration.snapshot.conftest import IMAGES, Live
from tests.integration.support import COLLECTION


def _build(live: Live, spec: ModelSpec, to: Path) -> str:
    # The command line has no option for an untrained model.
    program = (
        "from clip_assets.cli import app, index; from clip_assets.model import ModelSpec; "
        f"index.model_spec = lambda *_: {spec!r}; app.app()"
    )
    arguments = ["--snapshot", "--to", str(to), "--data", str(live.data), "--model", "tiny"]
    return subprocess.run(
        [sys.executable, "-c", program, "index", COLLECTION, *arguments],
        check=True, text=True, capture_output=True, timeout=600, env=os.environ,
    ).stdout  # fmt: skip


def test_a_snapshot_can_be_built_and_served_without_a_database(
    live: Live, home: Path, tmp_path: Path, tiny_spec: ModelSpec
) -> None:
    """A second build gets the next release number, leaves no files behind, and is served."""
    to = tmp_path / "snapshots"
    for release in (1, 2):
        said = _build(live, tiny_spec, to)
        assert f"release {release} is live: {IMAGES} images" in said
        assert [*home.iterdir()] == []
    command = [sys.executable, "-m", "serving", "--port", "0", "--snapshot", str(to)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = process.stdout.readline().split()[-1]
        wait_until_ready(url, seconds=600)
        asked = {"image_id": "00007.png", "k": 5}
        answer = web.post(f"{url}/v1/search", json=asked).json()
    finally:
        process.terminate()
        process.wait(120)
    assert answer["release"]["id"] == 2
    assert len(answer["hits"]) == 5
    newest = manifest.latest(Objects(str(to)))
    assert newest
    assert newest.release == 2
