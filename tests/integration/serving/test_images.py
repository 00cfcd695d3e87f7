"""Image records and thumbnails."""

import io
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from PIL import Image

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from tests import web
from tests.integration.serving.support import (
    Searchable,
    drawn,
    publish,
    running,
    settings,
    wait_until_ready,
)


def test_every_image_has_a_record_under_its_id(searchable: Searchable) -> None:
    """Slashes, dots, markup and right-to-left marks in an id work in the URL."""
    for picture in searchable.pictures:
        address = f"{searchable.url}/v1/images/{quote(picture.image_id, safe='')}"
        record = web.get(address).json()
        assert record["image_id"] == picture.image_id
        assert record["caption"] == picture.caption
        assert record["sha256"] == picture.sha256
        assert record["lineage"]["run_id"] == "run-embed"
        assert "score" not in record


def test_an_id_may_end_like_what_is_asked_of_an_image(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """`x/original` has a record, also beside an image `x`; as in a tar with x/original.jpg."""
    names = ("x", "x/original", "x/lineage", "y/original", "y/original/lineage")
    pictures = [drawn(number, image_id=name) for number, name in enumerate(names)]
    vectors = tiny.encode_images([picture.image for picture in pictures])
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, tiny_spec, tiny.identity, pictures, vectors)
    with running(settings(dsn)) as url:
        wait_until_ready(url)

        def got(path: str) -> dict[str, Any]:
            found: dict[str, Any] = web.get(f"{url}/v1/images/{path}").json()
            return found

        for picture in pictures:
            record = got(quote(picture.image_id, safe=""))
            assert (record["image_id"], record["sha256"]) == (picture.image_id, picture.sha256)
            origin = got(f"{quote(picture.image_id, safe='')}/lineage")
            assert (origin["image_id"], "commit" in str(origin)) == (picture.image_id, True)
        assert got("y/original")["image_id"] == "y/original"  # a proxy may decode the slash
        assert got("x/lineage")["image_id"] == "x"
        assert got("x/original")["detail"].startswith("This service does not serve")


@pytest.mark.parametrize(("image_id", "status"), [("none", 404), ("a%00b", 422), ("%ff", 404)])
def test_an_unknown_id_is_not_found(searchable: Searchable, image_id: str, status: int) -> None:
    """Unknown and impossible ids give a client error, never a server error."""
    assert web.get(f"{searchable.url}/v1/images/{image_id}").status_code == status


def test_a_thumbnail_may_be_cached_forever(searchable: Searchable) -> None:
    """It is a JPEG with a strong ETag and an immutable Cache-Control."""
    picture = searchable.pictures[0]
    response = web.get(f"{searchable.url}/thumbnails/{picture.sha256}")
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert Image.open(io.BytesIO(response.content)).size == picture.image.size


def test_a_thumbnail_of_an_earlier_version_is_served_as_what_it_is(
    searchable: Searchable,
) -> None:
    """It is a WebP, and links to it have that extension."""
    file = io.BytesIO()
    searchable.pictures[0].image.save(file, "WEBP")
    with psycopg.connect(searchable.dsn) as connection:
        connection.execute(
            "INSERT INTO clip_assets.thumbnail VALUES (%s, %s)", ("f" * 64, file.getvalue())
        )
    for address in ("f" * 64, f"{'f' * 64}.webp"):
        response = web.get(f"{searchable.url}/thumbnails/{address}")
        assert response.headers["content-type"] == "image/webp"
        assert response.content == file.getvalue()


def test_a_cached_thumbnail_is_not_sent_again(searchable: Searchable) -> None:
    """If-None-Match with its ETag gets 304 without a body; another ETag gets the picture."""
    address = f"{searchable.url}/thumbnails/{searchable.pictures[0].sha256}"
    tag = web.get(address).headers["etag"]
    same = web.get(address, headers={"If-None-Match": f'"other", {tag}'})
    assert (same.status_code, same.content) == (304, b"")
    assert web.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


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
def test_a_thumbnail_name_must_be_a_sha256(searchable: Searchable, name: str, status: int) -> None:
    """Anything but 64 lower-case hex digits is refused and never reaches the database."""
    response = web.get(f"{searchable.url}/thumbnails/{name}.webp")
    assert response.status_code == status
    assert response.json()["status"] == status
