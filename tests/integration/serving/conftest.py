"""One running service with twelve pictures, shared by all tests that only send requests."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from clip_assets.model import ModelSpec
from clip_assets.node import encoder
from tests.integration.serving.support import (
    DRAWN,
    Searchable,
    drawn,
    publish,
    running,
    settings,
    wait_until_ready,
)


@pytest.fixture(scope="session")
def tiny(tiny_spec: ModelSpec) -> encoder.Encoder:
    """A small, untrained, real model."""
    return encoder.load(tiny_spec, "cpu")


@pytest.fixture(scope="session")
def searchable(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: encoder.Encoder
) -> Iterator[Searchable]:
    """A running service over twelve pictures, two of them with hostile names."""
    hostile = "<img src=x onerror=alert(1)>"
    pictures = [drawn(number) for number in range(10)]
    pictures += [drawn(10, caption=hostile), drawn(11, image_id=f"a/../{hostile}\u202e\n.png ")]
    vectors = tiny.encode_images([picture.image for picture in pictures])
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, tiny_spec, tiny.identity, pictures, vectors, columns=DRAWN)
    with running(settings(dsn, dagster_url="http://dagster:3000/")) as url:
        wait_until_ready(url)
        yield Searchable(url, pictures, tiny, dsn, tiny_spec)
