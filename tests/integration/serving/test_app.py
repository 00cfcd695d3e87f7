"""Headers and errors of every response, the API documentation, and the page."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from serving.app import create_app
from serving.middleware.headers import HEADERS
from tests import web
from tests.integration.serving.support import Searchable, running, settings


@pytest.mark.parametrize(
    ("method", "path", "status", "cached"),
    [
        ("GET", "/", 200, "no-cache"),
        ("GET", "/static/page.js", 200, "no-cache"),
        ("GET", "/livez", 200, "no-store"),
        ("GET", "/v1/release", 200, "no-store"),
        ("GET", "/nowhere", 404, "no-store"),
        ("GET", "/static/../app.py", 404, "no-store"),
        ("PUT", "/v1/search", 405, "no-store"),
        ("POST", "/v1/search", 422, "no-store"),
    ],
)
def test_every_response_has_security_headers_and_a_request_id(
    searchable: Searchable, method: str, path: str, status: int, cached: str
) -> None:
    """This includes error responses; no route allows CORS."""
    headers = {"Origin": "http://elsewhere"}
    response = web.request(method, searchable.url + path, headers=headers)
    assert response.status_code == status
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
    assert response.headers["cache-control"] == cached
    assert len(response.headers["x-request-id"]) == 32
    assert "access-control-allow-origin" not in response.headers


def test_an_unexpected_error_reveals_nothing() -> None:
    """500 has the same headers and a generic message; the exception's text is only logged."""
    app = create_app(settings("postgresql://127.0.0.1:1/none"))

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("secret path")

    response = TestClient(app, raise_server_exceptions=False).get("/broken")
    assert response.status_code == 500
    assert response.json()["code"] == "internal"
    assert "secret" not in response.text
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS


def test_a_damaged_file_of_keys_is_said_by_every_route(tmp_path: Path) -> None:
    """Also by the one with which the page asks whether it needs a key."""
    (tmp_path / "keys.json").write_text("{")
    served = settings("postgresql://127.0.0.1:1/none", auth=True, keys=tmp_path / "keys.json")
    with running(served) as url:
        for path in ("/v1/session", "/v1/releases"):
            answer = web.get(f"{url}{path}")
            assert answer.status_code == 503
            assert "is not a valid file of API keys" in answer.json()["detail"]


def test_413_has_the_shape_of_every_other_error() -> None:
    """413 is sent before any route runs, and still has the headers and a message."""
    client = TestClient(create_app(settings("postgresql://127.0.0.1:1/none")))
    response = client.post("/v1/search", content=b"x" * 2**20)
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "too_large"
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS


def test_the_page_needs_neither_model_nor_database() -> None:
    """It is served even if the service cannot reach anything."""
    with TestClient(create_app(settings("postgresql://127.0.0.1:1/none"))) as client:
        page = client.get("/")
        assert client.get("/readyz").status_code == 503
    assert page.status_code == 200
    assert "a photo of a cloud" in page.text
    assert "<script>" not in page.text
    assert "style=" not in page.text


def test_the_documentation_has_examples(searchable: Searchable) -> None:
    """OpenAPI has a tag for each route, an example of each kind of search and the error schema."""
    api = web.get(f"{searchable.url}/openapi.json").json()
    search = api["paths"]["/v1/search"]["post"]
    assert search["tags"] == ["search"]
    assert set(search["requestBody"]["content"]["application/json"]["examples"]) == {
        "text", "like", "filter", "terms",
    }  # fmt: skip
    assert search["responses"]["503"]["content"]["application/problem+json"]["schema"]["$ref"]
    assert all(operation["tags"] for path in api["paths"].values() for operation in path.values())


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/livez", "/readyz", "/openapi.json"])
def test_head_is_answered_like_get_without_the_body(searchable: Searchable, path: str) -> None:
    """Load balancers and link checkers send HEAD; status and headers are those of GET."""
    got, head = web.get(searchable.url + path), web.request("HEAD", searchable.url + path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    own = {"x-request-id", "date"}
    assert {k: v for k, v in head.headers.items() if k not in own} == {
        k: v for k, v in got.headers.items() if k not in own
    }


def test_answers_are_compressed_and_thumbnails_are_not(searchable: Searchable) -> None:
    """Twelve hits take less than a quarter of their bytes; a JPEG is compressed already."""
    query = {"text": "a gold ellipse", "k": 12}
    answer = web.post(f"{searchable.url}/v1/search", json=query)
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < len(answer.content) / 4
    thumbnail = web.get(searchable.url + answer.json()["hits"][0]["thumbnail"])
    assert "content-encoding" not in thumbnail.headers


def test_every_route_documents_every_status_it_sends(searchable: Searchable) -> None:
    """All errors have one shape, also those before the route: 400, 405, 408 and 431."""
    api = web.get(f"{searchable.url}/openapi.json").json()
    for path, operations in api["paths"].items():
        for operation in operations.values():
            statuses = set(operation["responses"])
            assert statuses >= {"400", "405", "408", "431"} and statuses & {"200", "204"}, path
            errors = {s: r["content"] for s, r in operation["responses"].items() if s >= "400"}
            shapes = {
                (media_type, content["schema"]["$ref"].rsplit("/", 1)[-1])
                for contents in errors.values()
                for media_type, content in contents.items()
            }
            assert shapes <= {
                ("application/problem+json", "Problem"), ("application/json", "Ready"),
            }, path  # fmt: skip
    assert set(api["components"]["schemas"]["Problem"]["required"]) == {
        "title", "status", "code", "detail",
    }  # fmt: skip
    assert "HTTPValidationError" not in api["components"]["schemas"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/search", "HEAD, GET, POST"), ("/v1/search/image", "POST"), ("/livez", "HEAD, GET")],
)
def test_405_lists_every_method_of_the_path(
    searchable: Searchable, path: str, allowed: str
) -> None:
    """Also where two routes share a path."""
    response = web.request("DELETE", searchable.url + path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)
