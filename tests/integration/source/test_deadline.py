import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clip_assets.errors import SourceError
from clip_assets.source import SourceConfig, ordered
from clip_assets.source.config import (
    CaptionsConfig,
    FolderConfig,
    HuggingFaceConfig,
    Knowledge,
    WebDatasetConfig,
)
from clip_assets.source.deadline import Deadline
from clip_assets.source.inspect_dataset import inspect_dataset
from clip_assets.source.open import open_source
from clip_assets.store.objects import Objects
from tests.stalled import stalled_mount

SOON = 3.0
"""Seconds; what never comes is late after any time."""


@pytest.fixture
def never() -> Iterator[Event]:
    event = Event()
    yield event
    event.set()


def _config(kind: str, where: Path | str) -> SourceConfig:
    if kind == "folder":
        return FolderConfig(uri=str(where), deadline_seconds=SOON)
    if kind == "webdataset":
        return WebDatasetConfig(type="webdataset", uri=str(where), deadline_seconds=SOON)
    return HuggingFaceConfig(type="huggingface", dataset=str(where), deadline_seconds=SOON)


@pytest.mark.parametrize("kind", ["folder", "webdataset", "huggingface"])
@pytest.mark.parametrize("below", ["", "nas"])
def test_a_mount_that_never_answers_ends_the_listing(kind: str, below: str, tmp_path: Path) -> None:
    """Whether it is the source's folder or one in it, the error names it, and the remedy."""
    with stalled_mount(tmp_path / "photos" / below) as mount:
        with pytest.raises(SourceError) as raised:
            list(open_source(_config(kind, tmp_path / "photos")).list())
        message = str(raised.value)
        assert message.startswith(f"{mount} has not answered for 3 s. Check the mount")
        assert "raise `deadline_seconds`" in message


def test_one_tar_on_a_mount_that_never_answers_ends_the_listing(tmp_path: Path) -> None:
    """An address of a single tar is looked at before its folder is listed."""
    with stalled_mount(tmp_path / "photos") as mount:
        source = _config("webdataset", mount / "a.tar")
        with pytest.raises(SourceError, match=r"a\.tar has not answered for 3 s"):
            list(open_source(source).list())


def test_a_table_on_a_mount_that_never_answers_ends_the_listing(
    tmp_path: Path, jpeg: Callable[[str], bytes]
) -> None:
    """The error names the table, which is elsewhere than the images."""
    (tmp_path / "a.jpg").write_bytes(jpeg("red"))
    with stalled_mount(tmp_path / "tables") as mount:
        captions = CaptionsConfig.model_validate({"from": f"{mount}/captions.csv"})
        source = open_source(_config("folder", tmp_path), Knowledge(captions=captions))
        with pytest.raises(SourceError, match=r"captions\.csv has not answered for 3 s"):
            list(source.list())


def test_a_look_into_a_dataset_ends_too(tmp_path: Path) -> None:
    """`clip-assets init` of a dataset on such a mount does not hang."""
    with stalled_mount(tmp_path / "beans") as mount, pytest.raises(SourceError, match="answered"):
        inspect_dataset(str(mount), SOON)


def test_a_bucket_that_never_answers_ends_the_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts connections and sends nothing: the error names the prefix."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            monkeypatch.setenv(name, "us-east-1")
        for kind in ("folder", "webdataset"):
            with pytest.raises(SourceError, match=r"^s3://bucket/photos has not answered for 3 s"):
                list(open_source(_config(kind, "s3://bucket/photos")).list())


def test_a_caption_that_never_comes_costs_only_itself(
    tmp_path: Path, jpeg: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch, never: Event
) -> None:
    """Its image is listed without it, and the others with theirs."""
    get = Objects.get

    def slow(self: Objects, path: str, limit: int | None = None) -> bytes:
        if path == "b.txt":
            never.wait()
        return get(self, path, limit)

    monkeypatch.setattr(Objects, "get", slow)
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(jpeg("red"))
        (tmp_path / f"{name}.txt").write_text(f"the caption of {name}")
    source = open_source(_config("folder", tmp_path))
    found = {ref.image_id: ref.caption for ref in source.list()}
    assert found == {"a.jpg": "the caption of a", "b.jpg": None, "c.jpg": "the caption of c"}
    assert source.skipped["captions that cannot be read"] == 1


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_a_tar_that_stops_ends_the_listing(  # noqa: PLR0917 - fixtures
    name: str,
    tmp_path: Path,
    jpeg: Callable[[str], bytes],
    write_tar: Callable[[Path, dict[str, bytes]], Path],
    monkeypatch: pytest.MonkeyPatch,
    never: Event,
) -> None:
    """It may take as long as it needs while its bytes come."""
    tar = write_tar(tmp_path / "in" / "a.tar", {"a.jpg": jpeg("red")})
    if name != tar.name:
        shutil.make_archive(str(tar.with_suffix("")), "gztar", tmp_path, "in")
        tar.unlink()
    where = "clip_assets.source.webdataset.members"
    if name != tar.name:
        where = "clip_assets.source.packed._chunks"
    monkeypatch.setattr(where, lambda *_: iter(never.wait, None))
    with pytest.raises(SourceError, match=rf"/{name} has not answered for 3 s"):
        list(open_source(_config("webdataset", tmp_path / "in" / name)).list())


def test_a_parquet_file_that_stops_ends_the_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, never: Event
) -> None:
    """The error names the file."""
    pq.write_table(pa.table({"image": pa.array([b"x"])}), tmp_path / "train.parquet")
    monkeypatch.setattr(pq, "ParquetFile", lambda *_, **__: never.wait())
    with pytest.raises(SourceError, match=r"train\.parquet has not answered for 3 s"):
        list(open_source(_config("huggingface", tmp_path)).list())


def test_a_listing_takes_as_long_as_it_needs_while_it_goes_on(
    never: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline is of one step: items that are None show that it goes on."""
    clock = [0.0]
    monkeypatch.setattr(ordered, "monotonic", lambda: clock[0])

    def slowly() -> Iterator[int | None]:
        for number in range(5):
            clock[0] += 200
            never.wait(0.1)  # so that the reader looks at the clock before the step ends
            yield number if number % 2 == 0 else None

    assert list(Deadline(300).each(slowly(), lambda: "x", step=1)) == [0, 2, 4]


def test_an_error_of_the_listing_is_raised_as_it_is() -> None:
    """A thread between does not change it."""
    with pytest.raises(ZeroDivisionError):
        list(Deadline(SOON).each((1 // number for number in (1, 0)), lambda: "x"))
    with pytest.raises(ZeroDivisionError):
        Deadline(SOON).call(lambda: 1 // 0, "x")


def test_the_hub_is_waited_for_as_it_asks() -> None:
    """Its client has deadlines of its own, and waits when there were too many requests."""
    assert list(Deadline(None).each([1, None, 2], lambda: "x")) == [1, 2]
    assert Deadline(None).call(lambda: 3, "x") == 3
