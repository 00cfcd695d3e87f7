import io
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

import boto3
import obstore
import pytest
from moto.server import ThreadedMotoServer
from obstore.exceptions import PermissionDeniedError

from clip_assets.errors import SourceError, StoreError
from clip_assets.source import DamagedError, ImageRef, Source
from clip_assets.source.config import CaptionsConfig, FolderConfig, Knowledge, WebDatasetConfig
from clip_assets.source.open import open_source
from clip_assets.store import cloud, objects

Bucket = Any


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        # Google Cloud Storage lists as S3 does.
        "GOOGLE_BASE_URL": endpoint,
        "GOOGLE_SKIP_SIGNATURE": "true",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = boto3.resource("s3", region_name="us-east-1").Bucket("photos")
    bucket.create()
    yield bucket
    if bucket.creation_date:
        _emptied(bucket).delete()


def _emptied(bucket: Bucket) -> Bucket:
    bucket.objects.delete()
    return bucket


def _filled(bucket: Bucket, files: dict[str, bytes]) -> None:
    for key, data in files.items():
        bucket.put_object(Key=key, Body=data)


def _tar(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _folder(uri: str = "s3://photos/set") -> Source:
    return open_source(FolderConfig(uri=uri))


def test_a_bucket_prefix_is_read_like_a_folder(bucket: Bucket) -> None:
    """Listing, captions and bytes equal those of a local folder, also for unusual keys."""
    files = {"b.jpg": b"b", "a b/ü%41#?+.JPG": b"a", "a b/ü%41#?+.txt": b"odd", "empty.png": b""}
    _filled(bucket, {f"set/{name}": data for name, data in files.items()})
    _filled(bucket, {"set/folder.jpg/": b"", "set/.trash/x.jpg": b"", "settings.jpg": b""})
    source = _folder()
    refs = list(source.list())
    assert [(ref.image_id, ref.caption) for ref in refs if ref.image_id != "folder.jpg"] == [
        ("a b/ü%41#?+.JPG", "odd"),
        ("b.jpg", None),
        ("empty.png", None),
    ]
    assert refs[0].uri == "s3://photos/set/a b/ü%41#?+.JPG"
    read = dict(zip([ref.image_id for ref in refs], source.read(refs), strict=True))
    assert [read[name] for name in ("a b/ü%41#?+.JPG", "b.jpg", "empty.png")] == [b"a", b"b", b""]


def test_captions_are_fetched_once_for_each_version(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A second look at the bucket fetches what changed; a caption that is gone is gone."""
    monkeypatch.setenv("CLIP_ASSETS_HOME", str(tmp_path))
    names = ("a", "b", "c")
    _filled(bucket, {f"set/{name}.jpg": b"x" for name in names})
    _filled(bucket, {f"set/{name}.txt": b"first" for name in names})
    fetched: list[str] = []
    get = objects.Objects.get

    def counted(self: objects.Objects, path: str, limit: int | None = None) -> bytes:
        if not self.folder:
            fetched.append(path)
        return get(self, path, limit)

    monkeypatch.setattr(objects.Objects, "get", counted)
    assert [ref.caption for ref in _folder().list()] == ["first"] * 3
    assert sorted(fetched) == ["a.txt", "b.txt", "c.txt"]
    _filled(bucket, {"set/b.txt": b"second"})
    bucket.delete_objects(Delete={"Objects": [{"Key": "set/c.txt"}]})
    assert [ref.caption for ref in _folder().list()] == ["first", "second", None]
    assert [ref.caption for ref in _folder().list()] == ["first", "second", None]
    assert fetched[3:] == ["b.txt"]


@pytest.mark.parametrize("prefix", ["50%25 off", "100%", "a#b?c=d&e", "ü é", "[x]{1}"])
def test_an_address_means_what_it_says(bucket: Bucket, prefix: str) -> None:
    """What URLs give a meaning is a part of the name, as the store's own tools have it."""
    _filled(bucket, {f"{prefix}/a%2Fb.jpg": b"a", "50% off/other.jpg": b"b"})
    source = _folder(f"s3://photos/{prefix}")
    (ref,) = source.list()
    assert (ref.image_id, ref.uri) == ("a%2Fb.jpg", f"s3://photos/{prefix}/a%2Fb.jpg")
    assert list(source.read([ref])) == [b"a"]


def test_a_prefix_that_begins_another(bucket: Bucket) -> None:
    """`photos` is not `photos2`, also where odd keys are listed in another way."""
    _filled(bucket, {"set/a.jpg": b"a", "set2/b.jpg": b"b", "set.jpg": b"c"})
    assert [ref.image_id for ref in _folder().list()] == ["a.jpg"]
    _filled(bucket, {"set//odd.jpg": b"d", "set2//odd.jpg": b"e"})
    assert [ref.image_id for ref in _folder().list()] == ["/odd.jpg", "a.jpg"]


def test_tars_in_a_bucket_are_read_by_ranges(bucket: Bucket) -> None:
    """Works for all tars below a prefix and for a single tar."""
    members = {f"{number:02d}.jpg": bytes([number]) * 3000 for number in range(40)}
    _filled(bucket, {"set/a.tar": _tar(members | {"07.txt": b"seven"}), "set/b.tar": _tar(members)})
    source = open_source(WebDatasetConfig(type="webdataset", uri="s3://photos/set"))
    refs = list(source.list())
    assert [ref.image_id for ref in refs[:2]] == ["a/00", "a/01"]
    assert (len(refs), refs[7].caption, refs[47].image_id) == (80, "seven", "b/07")
    assert list(source.read(refs[::-1])) == [*members.values(), *members.values()][::-1]
    (one, *_) = open_source(WebDatasetConfig(type="webdataset", uri=refs[40].uri)).list()
    assert one == refs[40]


def test_a_deleted_object_is_reported_and_the_others_are_read(bucket: Bucket) -> None:
    """An object deleted since the listing becomes a reject."""
    _filled(bucket, {"set/a.jpg": b"a", "set/b.jpg": b"b"})
    source = _folder()
    refs = list(source.list())
    bucket.delete_objects(Delete={"Objects": [{"Key": "set/a.jpg"}]})
    gone, read = source.read(refs)
    assert (str(gone), read) == ("no such file", b"b")


def test_a_vanished_bucket_stops_the_read(bucket: Bucket) -> None:
    """If the bucket itself is gone, reading raises instead of rejecting every image."""
    _filled(bucket, {"set/a.jpg": b"a"})
    source = _folder()
    refs = list(source.list())
    _emptied(bucket).delete()
    with pytest.raises(StoreError, match=r"photos.*The bucket does not exist\. Check its name"):
        list(source.read(refs))


@pytest.mark.usefixtures("bucket")
def test_a_missing_bucket_is_named() -> None:
    """A bucket that does not exist is an error that names it and the remedy."""
    with pytest.raises(StoreError, match=r"s3://nowhere.*The bucket does not exist"):
        list(_folder("s3://nowhere/set").list())


@pytest.mark.usefixtures("bucket")
def test_missing_credentials_fail_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys or a metadata service the listing does not retry for minutes."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    began = monotonic()
    with pytest.raises(StoreError, match="No usable credentials"):
        list(_folder().list())
    assert monotonic() - began < 60


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(
    ("profile", "told"),
    [("other", "it is not there; set AWS_PROFILE"), ("sso", "`aws sso login --profile sso`")],
)
def test_unusable_credentials_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, profile: str, told: str
) -> None:
    """What was looked for and found: variables, the profile, and how to renew one of SSO."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    (tmp_path / "config").write_text(
        "[profile sso]\nsso_session = team\nsso_account_id = 123456789012\n"
        "sso_role_name = reader\nregion = us-east-1\n"
        "[sso-session team]\nsso_start_url = https://team.invalid\nsso_region = us-east-1\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", profile)
    with pytest.raises(StoreError, match=r"AWS_ACCESS_KEY_ID \(not set\), profile") as caught:
        list(_folder().list())
    assert told in str(caught.value)


@pytest.mark.usefixtures("bucket")
def test_an_unreachable_endpoint_fails_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the address and says what to check."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="Check the address and the network"):
        list(_folder().list())


@pytest.mark.parametrize("key", ["set//x.jpg", "set/../x.jpg", "set/./x.jpg", "set/tab\t.jpg"])
@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_an_odd_key_costs_itself_only(bucket: Bucket, scheme: str, key: str) -> None:
    """A key that is no usable path is listed with a reason; the others are listed as ever."""
    _filled(bucket, {f"set/{number} +%.jpg": b"x" for number in range(3)})
    source = _folder(f"{scheme}://photos/set")
    before = list(source.list())
    assert [ref.image_id for ref in before] == ["0 +%.jpg", "1 +%.jpg", "2 +%.jpg"]
    _filled(bucket, {key: b"y"})
    refs = list(source.list())
    assert [ref for ref in refs if not ref.fault] == before
    (odd,) = [ref for ref in refs if ref.fault]
    assert odd.image_id == key.removeprefix("set/")
    assert odd.fault and "copy it to a plain key" in odd.fault


class _Stalled(BaseHTTPRequestHandler):
    """A store that answers, but never sends one of its objects."""

    released: Event

    def do_GET(self) -> None:
        if self.path.endswith("b.jpg"):
            self.released.wait(600)
        found = self.path.endswith((".jpg", ".JPG"))
        self.send_response(200 if found else 404)
        self.send_header("content-length", "1")
        self.send_header("etag", '"x"')
        self.send_header("last-modified", "Fri, 27 Nov 2026 10:00:00 GMT")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(b"x")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def stalled(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    released = Event()
    handler = type("Handler", (_Stalled,), {"released": released})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(cloud, "TIMEOUT", 1)
    yield "s3://photos/set"
    released.set()
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("bucket")
def test_an_object_that_is_never_sent_costs_itself_only(stalled: str) -> None:
    """A store that answers about others is not blamed; the image is read again later."""
    refs = [ImageRef(name, f"{stalled}/{name}", "x") for name in ("a.jpg", "b.jpg", "c.jpg")]
    first, never, last = _folder(stalled).read(refs)
    assert (first, last) == (b"x", b"x")
    assert isinstance(never, OSError) and not isinstance(never, DamagedError)
    assert str(never) == "the store does not send it"


@pytest.mark.usefixtures("bucket")
def test_a_store_that_answers_nothing_ends_the_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then no image is marked: the error names the address and what to check."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="Check the address and the network"):
        list(_folder().read([ImageRef("a.jpg", "s3://photos/set/a.jpg", "x")]))


def test_an_archived_object_is_one_unreadable_image(bucket: Bucket) -> None:
    """It is reported with the remedy and may be read later; the others are read."""
    _filled(bucket, {"set/a.jpg": b"a"})
    bucket.put_object(Key="set/ice.jpg", Body=b"ice", StorageClass="GLACIER")
    source = _folder()
    read, archived = source.read(list(source.list()))
    assert read == b"a"
    assert str(archived) == "archived; restore it from the archive first"
    assert isinstance(archived, OSError) and not isinstance(archived, DamagedError)


def test_a_denied_object_is_one_unreadable_image(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a policy denies is one image's error, not a question of credentials."""
    _filled(bucket, {"set/a.jpg": b"a", "set/b.jpg": b"b"})
    source = _folder()
    refs = list(source.list())
    get = obstore.get

    def denying(store: Any, path: str) -> Any:
        if path == "a.jpg":
            raise PermissionDeniedError("403 Forbidden: <Error><Code>AccessDenied</Code></Error>")
        return get(store, path)

    monkeypatch.setattr(obstore, "get", denying)
    denied, read = source.read(refs)
    assert str(denied).startswith("access denied; change the bucket's policy")
    assert read == b"b"


def test_a_profile_of_the_aws_tools_is_used(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Credentials and region come from the files that `aws configure` writes."""
    _filled(bucket, {"set/a.jpg": b"a"})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(
        "[team]\naws_access_key_id = key\naws_secret_access_key = secret\n"
    )
    (tmp_path / "config").write_text("[profile team]\nregion = us-east-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "team")
    source = _folder()
    assert list(source.read(list(source.list()))) == [b"a"]


def test_a_table_that_is_missing_is_named_in_one_line(bucket: Bucket) -> None:
    """Below the prefix or elsewhere: the store's own answer is a page of XML."""
    bucket.put_object(Key="photos/a.jpg", Body=b"a")
    for table in ("captions.csv", f"s3://{bucket.name}/tables/captions.csv"):
        captions = CaptionsConfig.model_validate({"from": table})
        config = FolderConfig(uri=f"s3://{bucket.name}/photos")
        with pytest.raises(SourceError) as raised:
            list(open_source(config, Knowledge(captions=captions)).list())
        assert str(raised.value).startswith(f"{table} cannot be read (no such file). ")
        assert "\n" not in str(raised.value)
