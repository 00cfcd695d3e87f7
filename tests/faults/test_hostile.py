"""Bad files among good ones, and a short run of the fuzzer."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from clip_assets import catalog
from clip_assets.lake.lake import Lake
from clip_assets.model import ModelSpec
from clip_assets.node import embed
from clip_assets.node.job import EmbedJob
from clip_assets.source.config import FolderConfig
from clip_assets.source.open import open_source
from clip_assets.store.objects import Objects
from tests.faults import hostile

GOOD, RUNS = 1000, 20_000


@pytest.mark.promise("No image is lost")
def test_bad_files_cost_themselves_alone(
    tmp_path: Path, tiny_spec: ModelSpec, record_property: Callable[[str, object], None]
) -> None:
    """Of 1,000 good images all are embedded; each of the other files is rejected with a reason,
    or has pixels that a viewer shows too."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(GOOD):
        name = pictures / f"good-{number:04d}.png"
        name.write_bytes(hostile.photo("PNG", side=8, seed=number))
    bad = dict(hostile.files())
    for kind, data in bad.items():
        (pictures / f"{kind}.jpg").write_bytes(data)
    os.mkfifo(pictures / "pipe.png")
    (pictures / "loop.png").symlink_to("loop.png")
    (pictures / "nowhere.png").symlink_to("gone.png")
    objects, source = Objects(str(tmp_path / "photos")), FolderConfig(uri=str(pictures))
    head = catalog.refresh(objects, "photos", source, open_source(source).list(), 10_000)
    job = EmbedJob(
        job_id="j", run_id="r", collection="photos", model=tiny_spec, shards=("00000",),
        part_rows=200,
    )  # fmt: skip
    embed.run(objects, job)
    with Lake(objects).connect() as lake:
        rows = {name for (name,) in lake.execute("SELECT image_id FROM embeddings").fetchall()}
        rejects = dict(lake.execute("SELECT image_id, reason FROM rejects").fetchall())
    assert len(bad) + 3 >= 40
    assert rows.isdisjoint(rejects)
    assert len(rows) + len(rejects) == head.images == GOOD + len(bad) + 3
    assert sum(name.startswith("good-") for name in rows) == GOOD
    assert all(rejects.values())
    record_property("figure", f"{GOOD:,} good files, {len(bad) + 3} kinds of bad ones")
    assert {name.removesuffix(".jpg") for name in rows if not name.startswith("good-")} <= SHOWN


SHOWN = {
    f"{what}-{kind}"
    for what in ("half-of", "zeros-in", "noise-in")
    for kind in ("JPEG", "BMP", "TIFF", "WEBP", "GIF", "AVIF", "JPEG2000")
} | {"webp-of-a-gigabyte"}
"""What decoders may take for an image: these formats have no checksum, so damage is noise."""


def test_the_fuzzer_finds_nothing(python: str, tmp_path: Path) -> None:
    """A short run; `python -m tests.faults.fuzz_decode 1000000` is the long one."""
    pytest.importorskip("atheris", reason="no wheel of atheris for this Python")
    done = subprocess.run(
        [python, "-m", "tests.faults.fuzz_decode", str(RUNS)],
        check=False, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {RUNS} runs" in done.stderr
