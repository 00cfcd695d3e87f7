"""One service over several collections."""

from collections.abc import Callable

import psycopg

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from serving.loading import load_model
from tests import web
from tests.integration.serving.support import (
    drawn,
    publish,
    readiness,
    running,
    settings,
    wait_until,
    wait_until_ready,
    wait_until_unready,
)


def _publish(dsn: str, collection: str, encoder: Encoder, spec: ModelSpec, first: int) -> str:
    """Publish three pictures of these numbers; returns the id of the first."""
    pictures = [drawn(number) for number in range(first, first + 3)]
    vectors = encoder.encode_images([picture.image for picture in pictures])
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, spec, encoder.identity, pictures, vectors, collection=collection)
    return pictures[0].image_id


def _searched(url: str, **query: object) -> tuple[int, str]:
    """The status, and the collection or the error's message."""
    response = web.post(f"{url}/v1/search", json={"text": "x", **query})
    answer = response.json()
    return response.status_code, answer.get("collection") or answer["detail"]


def _known(url: str) -> dict[str, bool]:
    return {one["collection"]: one["searchable"] for one in web.get(f"{url}/v1/collections").json()}


def test_publishing_another_collection_does_not_disturb_a_running_service(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """It goes on with the collection it follows, whatever the other's name, and a service that
    starts later follows the same one. The other is searched by name if the same model made it;
    otherwise the response says how to serve it."""
    dsn, spec = new_database(), tiny_spec.model_copy(update={"untrained_seed": 8})
    other = load_model(spec, "cpu")
    assert isinstance(other, Encoder)
    _publish(dsn, "photos", tiny, tiny_spec, 0)
    with running(settings(dsn, refresh_seconds=0.1)) as url:
        wait_until_ready(url)
        first = _publish(dsn, "art", tiny, tiny_spec, 3)
        _publish(dsn, "maps", other, spec, 6)
        wait_until(lambda: len(_known(url)) == 3, url)
        assert _known(url) == {"photos": True, "art": True, "maps": False}
        assert readiness(url)[0] == 200
        assert _searched(url) == _searched(url, collection="photos") == (200, "photos")
        assert _searched(url, collection="art") == (200, "art")
        status, message = _searched(url, collection="maps")
        assert (status, "--collection maps" in message) == (404, True)
        assert "art, maps, photos" in _searched(url, collection="none")[1]
        record = f"{url}/v1/images/{first}"
        assert web.get(record).status_code == 404
        assert web.get(record, params={"collection": "art"}).json()["image_id"] == first
        params = {"collection": "art"}
        assert web.get(f"{url}/v1/release", params=params).json()["collection"] == "art"
    with running(settings(dsn, refresh_seconds=0.1)) as url:
        wait_until_ready(url)
        assert _searched(url) == (200, "photos")


def test_a_named_collection_is_the_only_one_served(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """With `--collection`, the others stay out of reach; and once its release is gone, the service
    is unready instead of answering from another collection."""
    dsn = new_database()
    for first, collection in ((0, "photos"), (3, "art")):
        _publish(dsn, collection, tiny, tiny_spec, first)
    with running(settings(dsn, collection="art", refresh_seconds=0.1)) as url:
        wait_until_ready(url)
        assert _searched(url) == (200, "art")
        assert _searched(url, collection="photos")[0] == 404
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("DELETE FROM clip_assets.live WHERE collection = 'art'")
        wait_until_unready(url, "Nothing is released yet for art")
