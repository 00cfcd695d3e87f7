"""A container of Azure, by a server on loopback that lists and sends as Azure does."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from clip_assets.errors import StoreError
from clip_assets.source import Source
from clip_assets.source.config import FolderConfig
from clip_assets.source.open import open_source

PAGE = 2  # blobs


class _Azure(BaseHTTPRequestHandler):
    blobs: dict[str, bytes]
    credentials: list[str | None]

    def do_GET(self) -> None:
        self.credentials.append(self.headers["authorization"])
        address = urlsplit(self.path)
        asked = {name: value for name, (value, *_) in parse_qs(address.query).items()}
        if asked.get("comp") == "list":
            return self._send(self._page(asked["prefix"], asked.get("marker", "")))
        return self._send(self.blobs[unquote(address.path).removeprefix("/photos/")])

    def _page(self, prefix: str, marker: str) -> bytes:
        names = sorted(name for name in self.blobs if name.startswith(prefix) and name > marker)
        listed, rest = names[:PAGE], names[PAGE:]
        blobs = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties>"
            "<Last-Modified>Fri, 27 Nov 2026 10:00:00 GMT</Last-Modified>"
            f"<Etag>0x{len(name):X}</Etag><Content-Length>{len(self.blobs[name])}</Content-Length>"
            "<Content-Type>image/jpeg</Content-Type><BlobType>BlockBlob</BlobType>"
            "</Properties></Blob>"
            for name in listed
        )
        following = escape(listed[-1]) if rest else ""
        return (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults>'
            f"<Prefix>{prefix}</Prefix><Blobs>{blobs}</Blobs>"
            f"<NextMarker>{following}</NextMarker></EnumerationResults>"
        ).encode()

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        for name, value in {
            "content-type": "application/xml",
            "content-length": str(len(body)),
            "etag": "0x1",
            "last-modified": "Fri, 27 Nov 2026 10:00:00 GMT",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[_Azure]]:
    handler = type("Handler", (_Azure,), {"blobs": {}, "credentials": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    for name, value in {
        "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "AZURE_STORAGE_ACCOUNT_NAME": "team",
        "AZURE_CONFIG_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    yield handler
    server.shutdown()
    server.server_close()


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")


def _folder() -> Source:
    return open_source(FolderConfig(uri="az://photos/set"))


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("odd", ["set//x.jpg", "set/../x.jpg", "set/./x.jpg", "set/2/tab\t.jpg"])
def test_an_odd_key_costs_itself_only(azure: type[_Azure], odd: str) -> None:
    """A key that is no usable path is listed with a reason; the others are listed as ever."""
    azure.blobs.update({f"set/{number} +%.jpg": b"x" for number in range(5)})
    before = list(_folder().list())
    assert len(before) == 5
    assert list(_folder().read(before)) == [b"x"] * 5
    azure.blobs[odd] = b"y"
    refs = list(_folder().list())
    assert [ref for ref in refs if not ref.fault] == before
    (faulty,) = [ref for ref in refs if ref.fault]
    assert faulty.image_id == odd.removeprefix("set/")
    assert faulty.fault and "copy it to a plain key" in faulty.fault


def test_the_login_of_the_azure_cli_is_used(
    azure: type[_Azure], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As Azure's own tools do, without a setting, once `az login` was called."""
    told = {
        "accessToken": "of-az",
        "expires_on": 4102444800,
        "expiresOn": "2100-01-01 00:00:00.000000",
    }
    told |= {"subscription": "s", "tenant": "t", "tokenType": "Bearer"}
    az = tmp_path / "az"
    az.write_text(f"#!/bin/sh\necho '{json.dumps(told)}'\n")
    az.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    profile = {"subscriptions": [{"id": "s"}]}
    (tmp_path / "azureProfile.json").write_text(json.dumps(profile), encoding="utf-8-sig")
    azure.blobs["set/a.jpg"] = b"x"
    assert [ref.image_id for ref in _folder().list()] == ["a.jpg"]
    assert azure.credentials == ["Bearer of-az"]


@pytest.mark.usefixtures("azure")
def test_missing_credentials_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was looked for and found, the login of `az` among it."""
    monkeypatch.setenv("AZURE_MSI_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"AZURE_STORAGE_ACCOUNT_KEY \(not set\)") as caught:
        list(_folder().list())
    assert "the login of `az login` (there is none)" in str(caught.value)
