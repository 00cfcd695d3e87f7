import hashlib
import io
import json
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from clip_assets.errors import SourceError
from clip_assets.source import DamagedError, Source, hub_retry
from clip_assets.source.config import FolderConfig, HuggingFaceConfig, Knowledge, WebDatasetConfig
from clip_assets.source.open import open_source

SHARD = "data/train-00000-of-00001.parquet"
ADDRESS = re.compile(
    r"/(?:api/)?datasets/(?P<name>[^/]+/[^/]+)/\w+/(?P<revision>\w+)/?(?P<path>.*)"
)


@dataclass
class Hub:
    """A fake hub on loopback: the files it serves and the requests it received."""

    files: dict[str, bytes]
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    busy: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Refusals that the next requests get."""
    stalled: str = ""
    """The file that is never sent, until `ended`."""
    ended: Event = field(default_factory=Event)

    def answer(self, path: str, name: str, revision: str) -> tuple[int, dict[str, str], bytes]:
        if self.busy:
            return *self.busy.pop(0), b""
        refusals = {"org/gated": (403, "GatedRepo"), "org/broken": (500, "")}
        status, code = refusals.get(name, (401, "RepoNotFound"))
        if name == "org/photos":
            status, code = self._found(path, revision)
        if status != 200:
            return status, {"X-Error-Code": code}, b""
        if not path:
            return 200, {"content-type": "application/json"}, self._listing(name)
        return 200, {"etag": f'"{_sha256(self.files[path])}"'}, self.files[path]

    def _found(self, path: str, revision: str) -> tuple[int, str]:
        if revision != "main":
            return 404, "RevisionNotFound"
        return (200, "") if not path or path in self.files else (404, "EntryNotFound")

    def _listing(self, name: str) -> bytes:
        files = [
            {
                "rfilename": path,
                "size": len(data),
                "blobId": "0" * 40,
                "lfs": {"sha256": _sha256(data), "size": len(data), "pointerSize": 1},
            }
            for path, data in self.files.items()
        ]
        return json.dumps({"id": name, "sha": "a" * 40, "siblings": files}).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        found = ADDRESS.match(urlsplit(self.path).path)
        assert found, self.path
        span = self.headers.get("range")
        self.hub.asked.append((found["path"], span, self.headers.get("authorization")))
        status, headers, body = self.hub.answer(found["path"], found["name"], found["revision"])
        if span and status == 200:
            first, last = span.removeprefix("bytes=").split("-")
            status, body = 206, body[int(first) : int(last) + 1 if last else None]
        self._send(status, headers, body)

    do_HEAD = do_GET  # noqa: N815

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in {**headers, "X-Repo-Commit": "a" * 40}.items():
            self.send_header(key, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            if self.hub.stalled and self.path.endswith(self.hub.stalled):
                self.hub.ended.wait(600)
            self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def _parquet() -> bytes:
    noise = [hashlib.sha256(bytes([n])).digest() * 400 for n in range(200)]
    images = pa.array([{"bytes": data} for data in noise], pa.struct([("bytes", pa.binary())]))
    file = io.BytesIO()
    table = pa.table({"image": images, "key": range(200)})
    pq.write_table(table, file, compression=None, use_dictionary=False)
    return file.getvalue()


def _use(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Same effect as HF_ENDPOINT, which the hub's client reads only once, at import."""
    address = f"http://127.0.0.1:{port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    held = Hub({"README.md": b"# photos", SHARD: _parquet()})
    handler = type("Handler", (_Handler,), {"hub": held})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    _use(monkeypatch, server.server_port)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield held
    held.ended.set()
    server.shutdown()
    server.server_close()


def _source(dataset: str = "org/photos", revision: str = "main") -> Source:
    config = HuggingFaceConfig(
        type="huggingface", dataset=dataset, revision=revision, id_column="key"
    )
    return open_source(config)


def test_listing_downloads_only_the_id_column(hub: Hub) -> None:
    """Ids are read with range requests, without downloading the images."""
    refs = list(_source().list())
    assert [ref.image_id for ref in refs] == [str(number) for number in range(200)]
    assert refs[3].uri == f"hf://datasets/org/photos@main/{SHARD}"
    assert refs[3].etag == f"{_sha256(hub.files[SHARD])}:3"
    spans = [span for path, span, _ in hub.asked if path == SHARD]
    assert all(spans)
    assert len(spans) <= 4
    read = sum(1 - eval(span.removeprefix("bytes=")) for span in spans if span)
    assert read < len(hub.files[SHARD]) / 5


def test_reading_downloads_each_file_once(hub: Hub) -> None:
    """Reads return the rows' bytes, send the token, and reuse the cache."""
    source = _source()
    refs = list(source.list())
    expected = [hashlib.sha256(bytes([n])).digest() * 400 for n in (5, 199, 0)]
    for _ in range(2):
        assert list(source.read([refs[5], refs[199], refs[0]])) == expected
    assert {token for _, _, token in hub.asked} == {"Bearer hf_secret"}


def test_rows_of_a_changed_file_are_errors(hub: Hub) -> None:
    """If the branch has moved, catalogued rows raise errors instead of returning other images."""
    source = _source()
    refs = list(source.list())[:2]
    hub.files[SHARD] = hub.files[SHARD][:-4] + b"PAR2"
    changed = "the parquet file has changed since it was catalogued"
    assert [str(error) for error in source.read(refs)] == [changed] * 2


def test_a_removed_file_rejects_its_rows(hub: Hub) -> None:
    """If the branch no longer has a file, each of its rows is an error."""
    source = _source()
    refs = list(source.list())[:2]
    del hub.files[SHARD]
    assert [str(error) for error in source.read(refs)] == ["no such file"] * 2


def test_folders_and_tars_on_the_hub(
    hub: Hub, jpeg: Callable[[str], bytes], write_tar: Callable[..., Path], tmp_path: Path
) -> None:
    """ImageFolder and WebDataset as the hub has them: listed without download, read by ranges."""
    tar = write_tar(tmp_path / "x.tar", {"1.jpg": jpeg("red"), "1.txt": b"one", "2.jpg": b"two"})
    images = {"train/cat/a.jpg": jpeg("blue"), "train/dog/b.jpg": jpeg("gold"), "test/c.jpg": b"c"}
    table = b"file_name,label\ncat/a.jpg,cat\ndog/b.jpg,dog\n"
    hub.files = {**images, "train/metadata.csv": table, "w/0.tar": tar.read_bytes()}
    knowledge = Knowledge.model_validate({"columns": {"label": {"from": "metadata.label"}}})
    folder = open_source(FolderConfig(uri="hf://datasets/org/photos/train"), knowledge)
    refs = list(folder.list())
    assert [(ref.image_id, ref.columns) for ref in refs] == [
        ("cat/a.jpg", '{"label": "cat"}'),
        ("dog/b.jpg", '{"label": "dog"}'),
    ]
    assert refs[0].uri == "hf://datasets/org/photos/train/cat/a.jpg"
    assert list(folder.read(refs)) == [images["train/cat/a.jpg"], images["train/dog/b.jpg"]]

    address = "hf://datasets/org/photos@main/w/{0..3}.tar"
    tars = open_source(WebDatasetConfig(type="webdataset", uri=address))
    one, two = tars.list()
    assert (one.image_id, one.caption, two.image_id) == ("0/1", "one", "0/2")
    assert list(tars.read([two, one])) == [b"two", jpeg("red")]
    del hub.files["train/dog/b.jpg"]
    read, gone = open_source(FolderConfig(uri="hf://datasets/org/photos/train")).read(refs)
    assert (read, str(gone)) == (images["train/cat/a.jpg"], "no such file")
    with pytest.raises(SourceError, match=r"has no files\. Check the address"):
        list(open_source(FolderConfig(uri="hf://datasets/org/photos/nowhere")).list())
    with pytest.raises(SourceError, match=r"form hf://datasets/org/name/folder"):
        open_source(FolderConfig(uri="hf://org/photos"))
    with pytest.raises(SourceError, match="`type: webdataset` and `uri: hf://datasets/org/photos`"):
        list(_source().list())


WAITS = [
    (429, {"retry-after": "7"}),
    (429, {"ratelimit": '"api";r=0;t=55', "ratelimit-policy": '"fixed window";"api";q=500;w=300'}),
    (503, {}),
]


def test_the_hub_is_waited_for_as_it_asks(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 and 503 while listing, reading ranges and downloading cost time, and no image."""
    waited: list[float] = []
    monkeypatch.setattr(hub_retry.time, "sleep", waited.append)
    source = _source()
    hub.busy = [*WAITS]
    refs = list(source.list())
    assert (len(refs), waited) == (200, [7.0, 56.0, 1.0])
    hub.busy = [*WAITS]
    assert [len(data) for data in source.read(refs[:2]) if isinstance(data, bytes)] == [12800] * 2
    assert 56.0 in waited[3:], "the hub's own client waits for downloads, unless they need longer"


def test_a_hub_that_stays_busy_is_an_error(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for at most a quarter of an hour, then the remedy is named."""
    waited: list[float] = []
    monkeypatch.setattr(hub_retry.time, "sleep", waited.append)
    hub.busy = [(429, {"retry-after": "400"})] * 9
    with pytest.raises(SourceError, match=r"no more requests .* run again later, or set HF_TOKEN"):
        list(_source().list())
    assert waited == [400.0, 400.0]


def test_a_file_that_is_never_sent_costs_its_own_rows(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images of other files are listed and read; those of this one are read again later."""
    other = "data/train-more.parquet"
    hub.files[other] = hub.files[SHARD]
    source = open_source(HuggingFaceConfig(type="huggingface", dataset="org/photos"))
    refs = list(source.list())
    hub.stalled = SHARD
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    never, read = source.read([refs[0], refs[-1]])
    assert isinstance(never, OSError) and not isinstance(never, DamagedError)
    assert str(never) == "the hub stopped sending the file"
    assert isinstance(read, bytes)
    monkeypatch.setattr("clip_assets.source.hub.TIMEOUT", 0.3)
    first, *others = source.list()
    assert first.image_id == "data/train-00000-of-00001/" and first.fault
    assert "the hub sent nothing" in first.fault
    assert len(others) == 200


@pytest.mark.parametrize(
    ("dataset", "revision", "said"),
    [
        ("org/gated", "main", "is gated: accept the terms on its page, then set HF_TOKEN"),
        (
            "org/private",
            "main",
            "is not on the hub, or is private: check the name, or set HF_TOKEN",
        ),
        ("org/photos", "v9", "has no revision 'v9': set `revision`"),
        ("org/broken", "main", "Cannot reach the Hugging Face hub"),
        ("not a/hub id", "main", "is neither a local folder nor a hub id of the form org/name"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_each_refusal_names_its_remedy(
    dataset: str, revision: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gated, private, misspelt and broken datasets each get their own message."""
    monkeypatch.setattr(hub_retry.time, "sleep", lambda _: None)
    with pytest.raises(SourceError, match=said):
        list(_source(dataset, revision).list())


def test_an_unreachable_hub_fails_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a connection the listing does not retry for minutes, and suggests a local copy."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        _use(monkeypatch, closed.getsockname()[1])
        began = monotonic()
        with pytest.raises(SourceError, match=r"Cannot reach .* local copy"):
            list(_source().list())
        assert monotonic() - began < 60


def test_a_hub_that_never_answers_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that accepts the connection but sends nothing does not hang the listing."""
    monkeypatch.setattr("clip_assets.source.hub.TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        _use(monkeypatch, silent.getsockname()[1])
        with pytest.raises(SourceError, match="Cannot reach"):
            list(_source().list())


def test_one_image_is_read_without_downloading_its_file(hub: Hub) -> None:
    """As the service does for an original; once the file is in the cache, it is read from there."""
    source = _source()
    refs = list(source.list())
    hub.asked.clear()
    (alone,) = source.read(refs[100:101])
    assert alone and not isinstance(alone, OSError)
    spans = [span for path, span, _ in hub.asked if path == SHARD]
    assert spans.count(None) == 1, "its header, which tells size and version"
    assert len(spans) > 1
    several = list(source.read(refs[100:102]))
    assert several[0] == alone
    hub.asked.clear()
    (again,) = source.read(refs[100:101])
    assert again == alone
    assert not [span for path, span, _ in hub.asked if path == SHARD and span]
