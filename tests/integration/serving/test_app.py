"""Every answer's headers and errors, the documentation, and what the page needs."""

import time

import httpx
import pytest
from fastapi.testclient import TestClient

from serving.app import create_app
from serving.middleware.headers import HEADERS
from tests.integration.serving.support import Searchable, settings


@pytest.mark.parametrize(
    ("method", "path", "status", "cached"),
    [
        ("GET", "/", 200, "no-cache"),
        ("GET", "/static/page.js", 200, "no-cache"),
        ("GET", "/livez", 200, "no-store"),
        ("GET", "/v1/release", 200, "no-store"),
        ("GET", "/nowhere", 404, "no-store"),
        ("GET", "/static/../app.py", 404, "no-store"),
        ("GET", "/v1/search", 405, "no-store"),
        ("POST", "/v1/search", 422, "no-store"),
    ],
)
def test_every_answer_is_guarded(
    searchable: Searchable, method: str, path: str, status: int, cached: str
) -> None:
    """Headers and a request id on each route, errors included; no CORS anywhere."""
    headers = {"Origin": "http://elsewhere"}
    response = httpx.request(method, searchable.url + path, headers=headers)
    assert response.status_code == status
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
    assert response.headers["cache-control"] == cached
    assert len(response.headers["x-request-id"]) == 32
    assert "access-control-allow-origin" not in response.headers


def test_an_unforeseen_error_tells_nothing() -> None:
    """500 is a sentence with the same headers; the exception's text stays in the log."""
    app = create_app(settings("postgresql://127.0.0.1:1/none"))

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("secret path")

    response = TestClient(app, raise_server_exceptions=False).get("/broken")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal"
    assert "secret" not in response.text
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS


def test_too_large_a_body_is_answered_like_any_other_error() -> None:
    """413 comes from outside of the routes, and still has headers and a sentence."""
    client = TestClient(create_app(settings("postgresql://127.0.0.1:1/none")))
    response = client.post("/v1/search", content=b"x" * 2**20)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "too_large"
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS


def test_the_page_needs_neither_model_nor_database() -> None:
    """It is there within milliseconds of a start that reaches nothing."""
    with TestClient(create_app(settings("postgresql://127.0.0.1:1/none"))) as client:
        client.get("/")
        started = time.perf_counter()
        page = client.get("/")
        assert time.perf_counter() - started < 0.2
    assert "a photo of a cloud" in page.text
    assert "<script>" not in page.text
    assert "style=" not in page.text


def test_the_documentation_has_examples(searchable: Searchable) -> None:
    """OpenAPI names each route's tag, an example of each search and the shape of errors."""
    api = httpx.get(f"{searchable.url}/openapi.json").json()
    search = api["paths"]["/v1/search"]["post"]
    assert search["tags"] == ["search"]
    assert set(search["requestBody"]["content"]["application/json"]["examples"]) == {
        "text", "like", "filter",
    }  # fmt: skip
    assert search["responses"]["503"]["content"]["application/json"]["schema"]["$ref"]
    assert all(operation["tags"] for path in api["paths"].values() for operation in path.values())
