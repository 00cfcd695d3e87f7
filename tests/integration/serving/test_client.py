"""The typed client, and the OpenAPI document that other clients are generated from."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.client import AsyncClient, Client, ProblemError
from serving.query import SearchRequest
from tests.integration.serving.support import Searchable

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


GENERATOR = """
post_hooks: []  # they format the client, and check its style
content_type_overrides:
  image/jpeg: application/octet-stream
  image/webp: application/octet-stream
"""


def test_a_client_gets_typed_answers(searchable: Searchable) -> None:
    """Pages, records, lineage, vectors and releases, from hostile ids, too."""
    with Client(searchable.url, timeout=120) as client:
        query = SearchRequest(text="gold", k=5, accuracy="exact")
        pages = list(client.pages(query))
        assert [len(page.hits) for page in pages] == [5, 5, 2]
        hostile = searchable.pictures[11].image_id
        assert client.image(hostile).sha256 == client.lineage(hostile).sha256
        assert client.embed(["gold"]).dim == 32
        assert [one.live for one in client.releases()] == [True]


def test_a_client_raises_what_the_service_refuses(searchable: Searchable) -> None:
    """With its code and its text."""
    with Client(searchable.url, timeout=120) as client:
        with pytest.raises(ProblemError, match="not_found: ") as raised:
            client.image("none")
        assert (raised.value.problem.status, raised.value.retry_after) == (404, None)


def test_the_asynchronous_client_is_the_same(searchable: Searchable) -> None:
    """Its calls have the same names and answers."""
    query = SearchRequest(text="gold", k=5, accuracy="exact")

    async def asked() -> list[str]:
        async with AsyncClient(searchable.url, timeout=120) as client:
            pages = [page async for page in client.pages(query)]
            return [hit.image_id for page in pages for hit in page.hits]

    with Client(searchable.url, timeout=120) as client:
        same = [hit.image_id for page in client.pages(query) for hit in page.hits]
    assert asyncio.run(asked()) == same
    calls = {name for name in vars(Client) if not name.startswith("_")}
    assert calls == {name for name in vars(AsyncClient) if not name.startswith("_")}


def test_a_generated_client_searches(
    searchable: Searchable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """openapi-python-client understands the whole document, and what it writes is typed as ours."""
    config = tmp_path / "config.yaml"
    config.write_text(GENERATOR)
    address = f"{searchable.url}/openapi.json"
    options = ["--meta=none", f"--config={config}", f"--output-path={tmp_path / 'generated'}"]
    subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", f"--url={address}",
         "--fail-on-warning", *options],
        check=True,
    )  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path)
    import generated  # type: ignore[import-not-found]
    from generated.api.search import search_v1_search_post  # type: ignore[import-not-found]
    from generated.models import SearchRequest as Asked  # type: ignore[import-not-found]

    with generated.Client(searchable.url, timeout=120) as client:
        answer = search_v1_search_post.sync(client=client, body=Asked(text="gold", k=3))
    with Client(searchable.url, timeout=120) as ours:
        same = ours.search(SearchRequest(text="gold", k=3))
    assert [(hit.image_id, hit.score) for hit in answer.hits] == [
        (hit.image_id, hit.score) for hit in same.hits
    ]


def test_the_service_does_what_its_document_says(searchable: Searchable) -> None:
    """Valid and invalid requests of every route get no 5xx, and only documented statuses, media
    types and shapes."""
    api = schemathesis.openapi.from_url(f"{searchable.url}/openapi.json")
    operations = [found.ok() for found in api.get_all_operations()]
    assert len(operations) >= 20
    for operation in operations:

        @given(case=operation.as_strategy())
        @hypothesis_settings(
            max_examples=8,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def holds(case: Case) -> None:
            case.call_and_validate(checks=CHECKS, timeout=120)

        holds()
