"""Records and thumbnails."""

import io
from urllib.parse import quote

import httpx
import pytest
from PIL import Image

from tests.integration.serving.support import Searchable


def test_every_image_has_a_record_under_its_id(searchable: Searchable) -> None:
    """Slashes, dots, markup and right-to-left marks in an id survive the address."""
    for picture in searchable.pictures:
        address = f"{searchable.url}/v1/images/{quote(picture.image_id, safe='')}"
        record = httpx.get(address).json()
        assert record["image_id"] == picture.image_id
        assert record["caption"] == picture.caption
        assert record["sha256"] == picture.sha256
        assert record["lineage"]["run_id"] == "run-embed"
        assert "score" not in record


@pytest.mark.parametrize(("image_id", "status"), [("none", 404), ("a%00b", 422), ("%ff", 404)])
def test_an_unknown_id_has_no_record(searchable: Searchable, image_id: str, status: int) -> None:
    """Unknown ids and ids that cannot be are refused, never a server error."""
    assert httpx.get(f"{searchable.url}/v1/images/{image_id}").status_code == status


def test_a_thumbnail_is_kept_for_ever_by_its_content(searchable: Searchable) -> None:
    """A WebP with a strong ETag that caches need never ask for again."""
    picture = searchable.pictures[0]
    response = httpx.get(f"{searchable.url}/thumbnails/{picture.sha256}.webp")
    assert response.headers["content-type"] == "image/webp"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert Image.open(io.BytesIO(response.content)).size == picture.image.size


def test_a_thumbnail_that_is_known_is_not_sent_again(searchable: Searchable) -> None:
    """If-None-Match with its ETag gets 304 and no body; with another, the picture."""
    address = f"{searchable.url}/thumbnails/{searchable.pictures[0].sha256}.webp"
    tag = httpx.get(address).headers["etag"]
    same = httpx.get(address, headers={"If-None-Match": f'"other", {tag}'})
    assert (same.status_code, same.content) == (304, b"")
    assert httpx.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("0" * 64, 404),
        ("0" * 63, 422),
        ("A" * 64, 422),
        ("..%2f..%2fetc%2fpasswd", 404),
        ("%252e%252e", 422),
        ("%00" * 64, 422),
    ],
)
def test_a_thumbnail_is_looked_up_never_opened(
    searchable: Searchable, name: str, status: int
) -> None:
    """Only 64 lower-case hex digits are a name, and nothing else reaches the database."""
    response = httpx.get(f"{searchable.url}/thumbnails/{name}.webp")
    assert response.status_code == status
    assert "error" in response.json()
