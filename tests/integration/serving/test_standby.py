"""The service on a read-only copy of the database."""

from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from clip_assets.postgres.migrate import migrate
from tests import web
from tests.integration.serving.support import drawn, publish, running, settings, wait_until_ready
from tests.provider import Provider, standby


def test_a_streaming_standby_is_enough(
    elsewhere: Provider, open_folder: Callable[[], Path], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """Searches, filters and records of images are answered, and nothing tries to write."""
    address = elsewhere.owner("CREATEROLE")
    pictures = [drawn(number) for number in range(4)]
    vectors = tiny.encode_images([picture.image for picture in pictures])
    with psycopg.connect(address, autocommit=True) as connection:
        migrate(connection)
        publish(connection, tiny_spec, tiny.identity, pictures, vectors)
    with standby(elsewhere, open_folder()) as copy:
        copied = make_conninfo(address, port=copy.port)
        with psycopg.connect(copied) as connection:
            assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        with running(settings(copied, refresh_seconds=0.1)) as url:
            wait_until_ready(url)
            for body in ({"text": "x", "k": 4}, {"text": "x", "filter": {"words": "ellipse"}}):
                found = web.post(f"{url}/v1/search", json=body)
                assert len(found.raise_for_status().json()["hits"]) == 4
            image = web.get(f"{url}/v1/images/{pictures[0].image_id}")
            assert image.status_code == 200
