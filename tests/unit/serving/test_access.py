"""Keys, roles, rates, other sites and proxies, over the application without a database."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from clip_assets.keys import KeyFile
from serving.app import create_app
from serving.middleware.access import needed
from serving.server import config_of
from tests.integration.serving.support import settings

NOWHERE = "postgresql://127.0.0.1:1/none"


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


def _client(**values: Any) -> TestClient:
    return TestClient(create_app(settings(NOWHERE, **values)))


@pytest.fixture
def client(keys: KeyFile) -> Iterator[TestClient]:
    yield _client(auth=True, keys=keys.path)


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_without_a_key_only_the_page_and_health_answer(client: TestClient, keys: KeyFile) -> None:
    """Everything else is 401, in the shape of every other error, before the body is looked at."""
    keys.add("a", "search")
    for path in ("/", "/static/page.js", "/livez", "/openapi.json", "/v1/session"):
        assert client.get(path).status_code == 200, path
    assert client.get("/readyz").status_code == 503
    paths = ("/v1/search?q=a", "/v1/release", "/v1/images/a", f"/thumbnails/{'a' * 64}.webp",
             "/nowhere", "/static", "/v1/session/x")  # fmt: skip
    for path in paths:
        refused = client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated"), path
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["x-content-type-options"] == "nosniff"
    assert client.post("/v1/search", content=b"{").status_code == 401
    assert client.get("/v1/release", headers=_bearer("clip_a_b")).status_code == 401


def test_a_key_opens_what_its_role_may(client: TestClient, keys: KeyFile) -> None:
    """Without a database the answer is then 503, not 401; erasing needs another role."""
    headers = _bearer(keys.add("a", "search"))
    assert client.get("/v1/release", headers=headers).status_code == 503
    refused = client.delete("/v1/images/a", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    admin = _bearer(keys.add("b", "admin"))
    assert client.delete("/v1/images/a", headers=admin).status_code not in (401, 403)
    assert needed("POST", "/v1/judgements") == needed("GET", "/v1/judgements") == "judge"
    assert needed("POST", "/v1/search") == "search"


def test_the_page_keeps_its_key_in_a_cookie(client: TestClient, keys: KeyFile) -> None:
    """Scripts cannot read it, and other sites' requests do not carry it; a revoked key is refused
    at the next request."""
    key = keys.add("a", "search")
    assert client.get("/v1/session").json() == {"needs_key": True, "role": None}
    wrong = client.post("/v1/session", json={"key": "clip_a_b"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "unauthenticated")
    answer = client.post("/v1/session", json={"key": key})
    assert answer.status_code == 204
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {
        part.strip() for part in answer.headers["set-cookie"].split(";")
    }
    assert client.get("/v1/session").json() == {"needs_key": True, "role": "search"}
    assert client.get("/v1/release").status_code == 503
    keys.revoke(keys.keys()[0].id)
    assert client.get("/v1/release").status_code == 401


def test_requests_over_the_rate_are_refused(keys: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 says when to try again; each key has its own rate, and so has each address; health is
    never refused."""
    monkeypatch.setattr(time, "time", lambda: 1e9)  # so that no minute ends during the test
    first, second = _bearer(keys.add("a", "search")), _bearer(keys.add("b", "search"))
    client = _client(auth=True, keys=keys.path, rate_per_key="3/minute")
    statuses = [client.get("/v1/release", headers=first).status_code for _ in range(5)]
    assert statuses == [503, 503, 503, 429, 429]
    refused = client.get("/v1/release", headers=first)
    assert refused.json()["code"] == "rate_limited"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert client.get("/v1/release", headers=second).status_code == 503
    assert client.get("/livez").status_code == 200
    open_to_all = _client(rate_per_address="2/minute")
    statuses = [open_to_all.get("/v1/release").status_code for _ in range(3)]
    assert statuses == [503, 503, 429]


@pytest.mark.parametrize("wrong", ["many", "3/fortnight", "-1/second"])
def test_a_rate_that_is_none_is_refused(wrong: str) -> None:
    """At the start, not at the first request."""
    with pytest.raises(ValueError, match="rate_per_key"):
        settings(NOWHERE, rate_per_key=wrong)


def test_only_named_sites_may_use_the_api(keys: KeyFile) -> None:
    """The preflight needs no key; another site gets no header that would let it read."""
    client = _client(auth=True, keys=keys.path, cors_origins=("https://good.example",))
    ask = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    good = client.options("/v1/search", headers={"Origin": "https://good.example", **ask})
    assert good.status_code == 200
    assert good.headers["access-control-allow-origin"] == "https://good.example"
    bad = client.options("/v1/search", headers={"Origin": "https://bad.example", **ask})
    assert "access-control-allow-origin" not in bad.headers
    answer = client.get("/livez", headers={"Origin": "https://good.example"})
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


def test_only_named_proxies_are_believed() -> None:
    """By default nobody may say that it asks for another address."""
    app = create_app(settings(NOWHERE))
    assert config_of(app, settings(NOWHERE)).proxy_headers is False
    behind = config_of(app, settings(NOWHERE, trusted_proxies=("10.0.0.0/8",)))
    assert (behind.proxy_headers, behind.forwarded_allow_ips) == (True, ["10.0.0.0/8"])


def test_metrics_have_bounded_labels(client: TestClient, keys: KeyFile) -> None:
    """Requests are counted by route and status, whatever a client asks for; without a release the
    service says what is missing."""
    headers = _bearer(keys.add("a", "search"))
    for number in range(20):
        client.get(f"/v1/images/secret-{number}", headers=headers)
        client.get(f"/nowhere/secret-{number}", headers=headers)
        client.request(f"SECRET{number}", "/livez")
    assert client.get("/metrics").status_code == 401
    text = client.get("/metrics", headers=headers).text
    assert "secret" not in text.lower()
    labels = 'method="GET",route="/v1/images/{image_id:any}",status="503"'
    assert f"clip_assets_requests_total{{{labels}}} 20.0" in text
    assert "clip_assets_ready 0.0" in text
    assert 'clip_assets_problem{part="database"} 1.0' in text
    assert len(text.splitlines()) < 200
