"""The node program, run as a user or a job runs it: complete parts, nothing lost or repeated."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import ExifTags, Image
from typer.testing import CliRunner, Result

from clip_assets import catalog
from clip_assets.errors import ModelError, StoreError
from clip_assets.model import ModelSpec
from clip_assets.node import embed
from clip_assets.node import job as jobs
from clip_assets.node.earlier import same_images
from clip_assets.node.job import EmbedJob
from clip_assets.node.progress import read_progress
from clip_assets.source.config import FolderConfig, Knowledge
from clip_assets.source.open import open_source
from clip_assets.status import collection_status, missing_shards
from clip_assets.store import commit as commits
from clip_assets.store import paths
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects
from clip_assets.store.rejects import rejects_message
from tests.conftest import picture

IMAGES, SHARD_SIZE, PART_ROWS = 30, 15, 5
Collection = Callable[..., Objects]
StartJob = Callable[[Objects, EmbedJob], ForkServerProcess]


@pytest.fixture
def collection(tmp_path: Path, write_pictures: Callable[..., Path]) -> Collection:
    """Creates collections over one folder of pictures; each has its catalog."""
    pictures = write_pictures(tmp_path / "pictures", IMAGES)

    def make(name: str = "photos") -> Objects:
        objects = Objects(str(tmp_path / "data" / name))
        source = FolderConfig(uri=str(pictures))
        listed = open_source(source).list()
        catalog.refresh(objects, "photos", source, listed, SHARD_SIZE)
        return objects

    return make


def job_of(spec: ModelSpec, **fields: object) -> EmbedJob:
    plain = {
        "job_id": "job", "run_id": "run", "collection": "photos", "model": spec,
        "shards": ("00000", "00001"), "part_rows": PART_ROWS, "batch_size": 4,
    }  # fmt: skip
    return EmbedJob.model_validate(plain | fields)


@pytest.fixture
def start_job(processes: ForkServerContext) -> StartJob:
    """Starts a job as a process of its own."""

    def start(objects: Objects, job: EmbedJob) -> ForkServerProcess:
        process = processes.Process(target=embed.run, args=(objects, job))
        process.start()
        return process

    return start


def run_program(*arguments: str) -> Result:
    """The program as the command line runs it, but in this process, which has imported torch."""
    return CliRunner().invoke(embed.app, arguments)


def commit_of(objects: Objects, spec: ModelSpec, number: int = 0) -> Commit:
    head = catalog.read(objects)
    assert head
    found = commits.read(objects, spec.slug, head.shards[number].at)
    assert found
    return found


def hashes(objects: Objects, spec: ModelSpec) -> list[str]:
    return [part.sha256 for number in (0, 1) for part in commit_of(objects, spec, number).parts]


def test_every_image_is_embedded_in_catalog_order(
    collection: Collection, tiny_spec: ModelSpec
) -> None:
    """Each row has the image's caption, hash, size, thumbnail and unit vector."""
    objects = collection()
    assert embed.run(objects, job_of(tiny_spec)) == 0
    commit = commit_of(objects, tiny_spec)
    assert (commit.rows, commit.rejected, commit.run_id) == (SHARD_SIZE, 0, "run")
    assert [part.rows for part in commit.parts] == [5, 5, 5]
    rows = commits.read_part(objects, commit.parts[1]).to_pylist()
    assert [row["image_id"] for row in rows] == [f"{n:05d}.png" for n in range(5, 10)]
    assert rows[0]["caption"] == "picture number 5"
    assert (rows[0]["width"], rows[0]["height"]) == (40, 40)
    assert np.linalg.norm(rows[0]["embedding"]) == pytest.approx(1, abs=1e-6)
    progress = read_progress(objects, "job")
    assert progress
    assert (progress.shards_done, progress.images_done) == (2, IMAGES)


def test_a_commit_tells_what_limits_the_job(collection: Collection, tiny_spec: ModelSpec) -> None:
    """It has the busy seconds of each stage, and the stage that was busiest for its threads."""
    objects = collection()
    embed.run(objects, job_of(tiny_spec))
    for number in (0, 1):
        commit = commit_of(objects, tiny_spec, number)
        assert set(commit.stage_seconds) == {"fetch", "decode", "encode", "write"}
        assert commit.limited_by in commit.stage_seconds
        for stage, seconds in commit.stage_seconds.items():
            assert 0 <= seconds <= commit.seconds * commit.workers[stage] + 0.1


def test_a_collection_may_do_without_thumbnails(
    collection: Collection, tiny_spec: ModelSpec
) -> None:
    """Its parts have none; the vectors are the same."""
    with_them, without = collection("with"), collection("without")
    embed.run(with_them, job_of(tiny_spec))
    embed.run(without, job_of(tiny_spec, thumbnails=False))
    rows = commits.read_part(without, commit_of(without, tiny_spec).parts[0]).to_pylist()
    assert {row["thumbnail"] for row in rows} == {b""}
    assert _vectors(without, tiny_spec) == _vectors(with_them, tiny_spec)


@pytest.mark.promise("Half-written files are never read")
def test_a_killed_job_run_again_writes_the_same_parts(
    start_job: StartJob, collection: Collection, tiny_spec: ModelSpec
) -> None:
    """After SIGKILL in the middle of a shard, twice, the parts equal those of one full run."""
    whole = collection("whole")
    assert embed.run(whole, job_of(tiny_spec)) == 0
    broken = collection("broken")
    for kept in (1, 3):
        process = start_job(broken, job_of(tiny_spec))
        _wait_for_parts(broken, tiny_spec, kept)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert embed.run(broken, job_of(tiny_spec)) == 0
    assert hashes(broken, tiny_spec) == hashes(whole, tiny_spec)
    assert commit_of(broken, tiny_spec).digest == commit_of(whole, tiny_spec).digest


def _wait_for_parts(objects: Objects, spec: ModelSpec, count: int) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        entries = objects.list(paths.embeddings(spec.slug))
        if sum("/part-" in entry.path for entry in entries) >= count:
            return
        time.sleep(0.005)
    raise TimeoutError(f"fewer than {count} parts after five minutes")


def test_a_second_run_computes_nothing(collection: Collection, tiny_spec: ModelSpec) -> None:
    """A committed shard is kept, and its commit still names the first run."""
    objects = collection()
    embed.run(objects, job_of(tiny_spec))
    assert embed.run(objects, job_of(tiny_spec, run_id="later")) == 0
    assert commit_of(objects, tiny_spec).run_id == "run"


def test_two_jobs_on_the_same_shards_both_succeed(
    start_job: StartJob, collection: Collection, tiny_spec: ModelSpec
) -> None:
    """A preempted job that keeps running beside its successor does no harm."""
    whole, objects = collection("whole"), collection("both")
    embed.run(whole, job_of(tiny_spec))
    both = [start_job(objects, job_of(tiny_spec, job_id=name)) for name in ("a", "b")]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert hashes(objects, tiny_spec) == hashes(whole, tiny_spec)


def test_rejects_are_listed_with_their_reason(
    collection: Collection, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    """Rows and rejects add up to the catalog's images; each reject says why."""
    folder = tmp_path / "pictures"
    (folder / "00003.png").write_bytes(b"")
    (folder / "00004.png").write_bytes((folder / "00005.png").read_bytes()[:60])
    objects = collection()
    (folder / "00006.png").unlink()
    assert embed.run(objects, job_of(tiny_spec, max_reject_share=0.5)) == 0
    commit = commit_of(objects, tiny_spec)
    assert (commit.rows, commit.rejected, commit.unreadable) == (12, 3, 1)
    rejects = commits.read_part(objects, commit.rejects).to_pylist()
    assert {row["image_id"]: row["reason"] for row in rejects} == {
        "00003.png": "empty file",
        "00004.png": "truncated PNG",
        "00006.png": "unreadable: no such file",
    }


def test_many_rejects_do_not_hold_back_what_is_sound(
    collection: Collection, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    """The shard is committed without them; the program says so, and ends with status 1."""
    for number in range(3):
        (tmp_path / "pictures" / f"{number:05d}.png").write_bytes(b"<html>not an image</html>")
    objects = collection()
    assert embed.run(objects, job_of(tiny_spec)) == 1
    assert [commit_of(objects, tiny_spec, number).rows for number in (0, 1)] == [12, SHARD_SIZE]
    assert rejects_message(objects, commit_of(objects, tiny_spec), 0.01).startswith(
        "3 of 15 images were rejected, more than max_reject_share 0.01 allows. Fix the images"
    )
    assert embed.run(objects, job_of(tiny_spec, max_reject_share=0.2)) == 0


def test_one_reject_is_not_too_many_for_a_small_shard(
    collection: Collection, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    """A share of a small shard is less than one image."""
    (tmp_path / "pictures/00000.png").write_bytes(b"<html>not an image</html>")
    assert embed.run(collection(), job_of(tiny_spec)) == 0


def test_what_could_not_be_read_is_read_again(
    collection: Collection, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    """Only a file whose bytes are bad stays rejected; what was embedded is not embedded again."""
    folder = tmp_path / "pictures"
    (folder / "00004.png").write_bytes(b"<html>not an image</html>")
    objects = collection()
    head = catalog.require(objects, "photos")
    (folder / "00006.png").rename(tmp_path / "away.png")
    job = job_of(tiny_spec, shards=("00000",), max_reject_share=0.5)
    assert embed.run(objects, job) == 0
    first = commit_of(objects, tiny_spec)
    assert (first.rows, first.unreadable) == (13, 1)
    assert missing_shards(objects, head, tiny_spec.slug) == ["00000", "00001"]
    status = collection_status(None, objects, "photos")
    assert status and status.models[0].unreadable == 1
    embed.run(objects, job)
    assert commit_of(objects, tiny_spec) == first
    (tmp_path / "away.png").rename(folder / "00006.png")
    embed.run(objects, job)
    second = commit_of(objects, tiny_spec)
    assert (second.rows, second.rejected, second.unreadable, second.attempt) == (14, 1, 0, 1)
    assert (second.images_encoded, second.images_carried) == (1, 13)
    assert second.carried_from == commits.path_of(tiny_spec.slug, first)
    assert missing_shards(objects, head, tiny_spec.slug) == ["00001"]
    newest = commits.newest(objects, tiny_spec.slug)["00000"]
    assert commits.read_path(objects, newest) == second


def _vectors(objects: Objects, spec: ModelSpec) -> dict[str, list[float]]:
    commit = commit_of(objects, spec)
    tables = [commits.read_part(objects, part) for part in commit.parts]
    return {row["image_id"]: row["embedding"] for table in tables for row in table.to_pylist()}


def test_of_a_changed_shard_only_what_changed_is_computed(
    collection: Collection, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    """Touched, moved and captioned images keep their vectors; a changed one gets a new one."""
    folder = tmp_path / "pictures"
    objects = collection()
    job = job_of(tiny_spec, shards=("00000",))
    embed.run(objects, job)
    before = _vectors(objects, tiny_spec)

    def encoded() -> tuple[int, int]:
        collection()
        embed.run(objects, job)
        commit = commit_of(objects, tiny_spec)
        return commit.images_encoded, commit.images_carried

    os.utime(folder / "00002.png", (1, 1))
    (folder / "00003.txt").write_text("another caption")
    assert encoded() == (0, 15)
    row = commits.read_part(objects, commit_of(objects, tiny_spec).parts[0]).to_pylist()[3]
    assert (row["image_id"], row["caption"]) == ("00003.png", "another caption")
    (folder / "00005.png").unlink()
    assert encoded() == (0, 14)
    (folder / "00007.png").write_bytes(picture(99))
    assert encoded() == (1, 13)
    after = _vectors(objects, tiny_spec)
    assert after.keys() == before.keys() - {"00005.png"}
    assert {name for name in after if after[name] != before[name]} == {"00007.png"}
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    source = FolderConfig(uri=str(moved))
    catalog.refresh(objects, "photos", source, open_source(source).list(), SHARD_SIZE)
    embed.run(objects, job)
    assert commit_of(objects, tiny_spec).images_encoded == 0
    assert _vectors(objects, tiny_spec) == after


def test_columns_need_no_inference(
    tiny_spec: ModelSpec, tmp_path: Path, write_pictures: Callable[..., Path]
) -> None:
    """A changed value, a column declared later and one from EXIF carry the vectors over; the parts
    have the values as their types, and a column that is declared otherwise is taken anew."""
    folder = write_pictures(tmp_path / "pictures", 4)
    written = Image.Exif()
    written[ExifTags.Base.Model] = "Nikon D1\0"
    Image.new("RGB", (9, 9)).save(folder / "shot.jpg", exif=written)
    objects, source = Objects(str(tmp_path / "data")), FolderConfig(uri=str(folder))

    alike: list[bool] = []

    def made(value: float, **declared: dict[str, str]) -> tuple[Commit, list[dict[str, object]]]:
        (folder / "metadata.csv").write_text(
            f"file_name,price,day\n00001.png,{value},2024-05-01\nshot.jpg,2,2024-05-02"
        )
        knowledge = Knowledge.model_validate({"columns": declared})
        images = open_source(source, knowledge)
        listed = images.list()
        catalog.refresh(
            objects, "photos", source, listed, SHARD_SIZE, columns=knowledge.columns
        )  # fmt: skip
        head = catalog.require(objects, "photos")
        alike.append(same_images(objects, tiny_spec.slug, head.shards[0], head.columns))
        embed.run(objects, job_of(tiny_spec, shards=("00000",)))
        commit = commit_of(objects, tiny_spec)
        tables = [commits.read_part(objects, part) for part in commit.parts]
        return commit, pa.concat_tables(tables).to_pylist()

    price = {"from": "metadata.price", "type": "double"}
    commit, rows = made(1.5, price=price)
    assert commit.images_encoded == 5
    assert [row["price"] for row in rows] == [None, 1.5, None, None, 2.0]
    commit, rows = made(2.5, price=price)
    assert (commit.version, commit.images_encoded, commit.images_carried) == (2, 0, 5)
    assert rows[1]["price"] == 2.5
    more = {"day": {"from": "metadata.day", "type": "date"}, "camera": {"from": "exif.Model"}}
    commit, rows = made(2.5, price=price, **more)
    assert (commit.images_encoded, commit.images_carried) == (0, 5)
    assert [row["camera"] for row in rows] == [None, None, None, None, "Nikon D1"]
    assert rows[4]["day"] == date(2024, 5, 2)
    commit, rows = made(3.5, price={"from": "metadata.price"}, **more)
    assert (commit.images_encoded, rows[1]["price"]) == (0, "3.5")
    assert rows[4]["camera"] == "Nikon D1"
    assert alike == [False, True, False, True]  # EXIF is in the files, which are read once more


def test_faults_of_the_listing_are_rejects(
    collection: Collection, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    """A pipe and a name that is not UTF-8 cost themselves, and hold nothing up."""
    os.mkfifo(tmp_path / "pictures/00000a.png")
    (tmp_path / "pictures" / os.fsdecode(b"00000caf\xe9.png")).write_bytes(picture(1))
    objects = collection()
    assert embed.run(objects, job_of(tiny_spec, max_reject_share=0.5)) == 0
    commit = commit_of(objects, tiny_spec)
    rejects = commits.read_part(objects, commit.rejects).to_pylist()
    assert [(row["image_id"], row["reason"], row["kind"]) for row in rejects] == [
        ("00000a.png", "it is not a regular file", "unlisted"),
        ("00000caf\\xe9.png", "its name is not UTF-8; rename it", "unlisted"),
    ]
    assert (commit.rows, commit.unreadable) == (13, 0)


def test_other_weights_under_the_same_name_are_refused(
    collection: Collection, tiny_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard never mixes parts made by different weights."""
    objects = collection()
    embed.run(objects, job_of(tiny_spec, shards=("00000",)))
    other = tiny_spec.model_copy(update={"untrained_seed": 1})
    monkeypatch.setattr(ModelSpec, "slug", tiny_spec.slug)
    with pytest.raises(ModelError, match=r"shard 00000, which is committed .* in its weights"):
        embed.run(objects, job_of(other, shards=("00000",)))
    head = catalog.read(objects)
    assert head
    assert objects.folder
    (objects.folder / paths.commit(tiny_spec.slug, head.shards[0].at)).unlink()
    with pytest.raises(ModelError, match=r"part-00000.parquet .* weights .* pin it with `sha256`"):
        embed.run(objects, job_of(other, shards=("00000",)))


def test_a_damaged_part_of_an_earlier_attempt_is_an_error(
    collection: Collection, tiny_spec: ModelSpec
) -> None:
    """A part that was damaged after it was written is never committed."""
    objects = collection()
    embed.run(objects, job_of(tiny_spec))
    commit = commit_of(objects, tiny_spec)
    assert objects.folder
    (objects.folder / paths.commit(tiny_spec.slug, commit.at)).unlink()
    path = objects.folder / commit.parts[0].path
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1  # among the rows; the footer of so small a file begins later
    path.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        embed.run(objects, job_of(tiny_spec))


def test_a_full_disk_ends_the_job_with_one_sentence(
    collection: Collection, tiny_spec: ModelSpec
) -> None:
    """The error says what to do; with enough space the same job succeeds."""
    objects = collection()
    job = jobs.write(objects, job_of(tiny_spec))
    with _full_disk():
        full = run_program("--job", job)
    assert full.exit_code == 2
    assert "error: Cannot write" in full.output
    assert "Free some space" in full.output
    assert not list(objects.list(paths.embeddings(tiny_spec.slug)))
    assert embed.run(objects, job_of(tiny_spec)) == 0


@contextmanager
def _full_disk() -> Iterator[None]:
    """A file of more than two KiB is more than this disk has room for."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_node_programs_run_without_dagster(
    tmp_path: Path, write_pictures: Callable[..., Path], tiny_spec: ModelSpec
) -> None:
    """Flags work like a job file; an unknown shard is an error that says how many exist."""
    objects = Objects(str(tmp_path / "data" / "photos"))
    pictures = write_pictures(tmp_path / "pictures", IMAGES)
    where = ["--data", str(tmp_path / "data"), "--collection", "photos"]
    made = subprocess.run(
        [sys.executable, "-m", "clip_assets.node.catalog", *where, "--uri", str(pictures),
         "--shard-size", str(SHARD_SIZE)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert made.stdout == "30 images in 2 shards: --shards 0..1\n"
    spec = ModelSpec(name=_exported(objects, tiny_spec))
    asked = [*where, "--model", spec.name, "--shards"]
    # By an interpreter that has imported nothing yet, as a node starts it.
    command = [sys.executable, "-m", "clip_assets.node.embed", *asked, "0..1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert commit_of(objects, spec, 1).rows == SHARD_SIZE
    wrong = run_program(*asked, "7")
    assert wrong.exit_code == 2
    assert wrong.output.startswith("error: photos has no shard 00007; it has 2")


def _exported(objects: Objects, tiny_spec: ModelSpec) -> str:
    """Saves the tiny model with its seeded weights as a folder that open_clip can load."""
    from safetensors.torch import save_file

    from clip_assets.node.encoder import load

    assert objects.folder
    folder = objects.folder.parent / "exported"
    folder.mkdir()
    config = Path(tiny_spec.name.removeprefix("local-dir:")) / "open_clip_config.json"
    (folder / config.name).write_text(config.read_text())
    weights = load(tiny_spec, "cpu")._model.state_dict()
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"
