"""Everything works below a path prefix."""

from collections.abc import Iterator

import pytest

from tests import web
from tests.integration.serving.support import Searchable, running, settings, wait_until_ready


@pytest.fixture(scope="module")
def below(searchable: Searchable) -> Iterator[str]:
    """The address of a service that is shown below /clip."""
    with running(settings(searchable.dsn, path_prefix="/clip/")) as url:
        wait_until_ready(url)
        yield url


@pytest.mark.parametrize("prefix", ["", "/clip"])
@pytest.mark.parametrize("path", ["/", "/livez", "/static/page.js", "/openapi.json", "/v1/release"])
def test_a_proxy_may_remove_the_prefix_or_not(below: str, prefix: str, path: str) -> None:
    """Both are answered alike, with the headers that belong to the path."""
    response = web.get(below + prefix + path)
    assert response.status_code == 200
    cached = {"/": "no-cache", "/static/page.js": "no-cache"}.get(path, "no-store")
    assert response.headers["cache-control"] == cached


def test_addresses_in_answers_have_the_prefix(below: str) -> None:
    """A client finds the thumbnail of a hit, and generated clients find the API."""
    answer = web.post(f"{below}/clip/v1/search", json={"text": "a gold ellipse", "k": 1}).json()
    thumbnail = answer["hits"][0]["thumbnail"]
    assert thumbnail.startswith("/clip/thumbnails/")
    assert web.get(below + thumbnail).headers["content-type"] == "image/jpeg"
    assert web.get(f"{below}/openapi.json").json()["servers"] == [{"url": "/clip"}]


def test_the_prefix_without_a_slash_leads_to_the_page(below: str) -> None:
    """The page's own addresses are relative, so it must end in a slash."""
    response = web.get(f"{below}/clip")
    assert (response.status_code, response.headers["location"]) == (307, "/clip/")
    assert web.get(f"{below}/clipped").status_code == 404
