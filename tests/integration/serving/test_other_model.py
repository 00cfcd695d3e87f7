"""An earlier release of another model is searched by texts and uploads, with its own model."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np
import psycopg
import pytest

from clip_assets.errors import ModelError
from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from serving.encoder import Model
from serving.loading import Load, load_model
from tests import web
from tests.integration.serving.support import (
    drawn,
    publish,
    running,
    settings,
    wait_until,
    wait_until_ready,
)

PICTURES = [drawn(number) for number in range(8)]


@dataclass(frozen=True)
class Two:
    """A database with a release of each model; the second is live."""

    dsn: str
    specs: tuple[ModelSpec, ModelSpec]
    models: tuple[Encoder, Encoder]

    @contextmanager
    def service(self, load: Load = load_model, **values: object) -> Iterator[str]:
        with running(settings(self.dsn, **values), load) as url:
            wait_until_ready(url, model=self.models[1].identity.short)
            yield url

    def nearest(self, number: int, vector: np.ndarray) -> list[str]:
        """By brute force, in the vectors of that model."""
        stored = self.models[number].encode_images([picture.image for picture in PICTURES])
        order = np.argsort(-(stored @ vector))
        return [PICTURES[place].image_id for place in order]


@pytest.fixture(scope="module")
def two(new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder) -> Two:
    later = tiny_spec.model_copy(update={"untrained_seed": 8})
    other = load_model(later, "cpu")
    assert isinstance(other, Encoder)
    found = Two(new_database(), (tiny_spec, later), (tiny, other))
    with psycopg.connect(found.dsn, autocommit=True) as connection:
        for spec, model in zip(found.specs, found.models, strict=True):
            vectors = model.encode_images([picture.image for picture in PICTURES])
            publish(connection, spec, model.identity, PICTURES, vectors)
    return found


def _compare(url: str, **query: object) -> httpx.Response:
    return web.post(f"{url}/v1/compare", json={"query": query, "releases": [2, 1]})


def _when_loaded(ask: Callable[[], httpx.Response], url: str) -> httpx.Response:
    wait_until(lambda: ask().status_code != 503, url)
    return ask()


def test_a_text_is_compared_between_two_models(two: Two) -> None:
    """Each release is searched with its own model's vector of the text. While the other model is
    being loaded, that is said, and the live release answers."""
    may_load = threading.Event()

    def load(spec: ModelSpec, device: str | None) -> Model:
        assert spec == two.specs[1] or may_load.wait(600)
        return load_model(spec, device)

    query = {"text": "a gold ellipse", "accuracy": "exact"}
    with two.service(load) as url:
        for _ in range(3):
            refused = _compare(url, **query)
            assert (refused.status_code, refused.json()["code"]) == (503, "model_loading")
            assert int(refused.headers["Retry-After"]) > 0
            assert web.post(f"{url}/v1/search", json=query).status_code == 200
        may_load.set()
        compared = _when_loaded(lambda: _compare(url, **query), url).json()
        for number, answer in zip((1, 0), compared["answers"], strict=True):
            vector = two.models[number].encode_text(["a gold ellipse"])[0]
            assert answer["release"]["model"] == two.models[number].identity.short
            assert [hit["image_id"] for hit in answer["hits"]] == two.nearest(number, vector)
        assert compared["overlap"] == 1


def test_an_upload_searches_a_release_of_another_model(two: Two) -> None:
    """By the route of searches, and by the vector that the other model makes of it."""
    picture = PICTURES[3]
    files, form = {"file": ("x", picture.png)}, {"release": "1", "accuracy": "exact"}
    with two.service() as url:

        def ask() -> httpx.Response:
            return web.post(f"{url}/v1/search/image", files=files, data=form)

        hits = _when_loaded(ask, url).json()["hits"]
        assert hits[0]["image_id"] == picture.image_id
        embedded = web.post(f"{url}/v1/embed/image", files=files, data={"release": "1"}).json()
        assert embedded["model"] == two.models[0].identity.short
        term = {"terms": [{"vector": embedded["vectors"][0]}], "release": 1, "accuracy": "exact"}
        by_vector = web.post(f"{url}/v1/search", json=term).json()["hits"]
        assert [hit["image_id"] for hit in by_vector] == [hit["image_id"] for hit in hits]


def test_the_other_model_is_dropped_when_nobody_uses_it(two: Two) -> None:
    """The next text has it loaded again."""
    loads = []

    def load(spec: ModelSpec, device: str | None) -> Model:
        loads.append(spec)
        return load_model(spec, device)

    with two.service(load, other_model_minutes=0.0001) as url:

        def loaded_again() -> bool:
            _compare(url, text="gold")
            return loads.count(two.specs[0]) >= 2

        wait_until(loaded_again, url)
        assert loads.count(two.specs[1]) == 1


def test_a_model_that_cannot_be_loaded_is_said(two: Two) -> None:
    """With the reason; the live release goes on answering, and other terms need no model."""

    def load(spec: ModelSpec, device: str | None) -> Model:
        if spec == two.specs[0]:
            raise ModelError("The weights are gone.")
        return load_model(spec, device)

    with two.service(load) as url:
        wait_until(lambda: _compare(url, text="gold").json()["code"] == "not_ready", url)
        assert _compare(url, text="gold").json()["detail"] == "The weights are gone."
        assert web.post(f"{url}/v1/search", json={"text": "gold"}).status_code == 200
        assert _compare(url, image_id=PICTURES[0].image_id).status_code == 200


@pytest.mark.parametrize("values", [{"other_model_minutes": 0}, {"workers": 2}])
def test_where_no_other_model_is_loaded_the_error_says_what_to_do(
    two: Two, values: dict[str, float]
) -> None:
    """Where the operator says so, or where each worker would need a copy."""
    with two.service(**values) as url:
        refused = _compare(url, text="gold")
        assert refused.status_code == 422
        assert "search it by `image_id` or `vector`" in refused.json()["detail"]
        assert "OTHER_MODEL_MINUTES" in refused.json()["detail"]
        assert _compare(url, image_id=PICTURES[0].image_id).status_code == 200
