"""Searches that wait for the encoder at the same time are encoded together, over real HTTP."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

import httpx
import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from tests import web
from tests.integration.serving.support import drawn, publish, running, settings, wait_until_ready

PATIENCE = 600


class Held(Encoder):
    """Encodes texts once `may_go` is set, and keeps each call's texts."""

    def __init__(self, encoder: Encoder) -> None:
        self.__dict__ = encoder.__dict__
        self.calls: list[list[str]] = []
        self.called = threading.Event()
        self.may_go = threading.Event()
        self.may_go.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Texts are encoded only after it."""
        self.called.clear()
        self.may_go.clear()
        try:
            yield
        finally:
            self.may_go.set()

    def encode_text(self, texts: list[str]) -> NDArray[np.float32]:  # type: ignore[override]
        self.calls.append(texts)
        self.called.set()
        assert self.may_go.wait(PATIENCE)
        return super().encode_text(texts)


@contextmanager
def _service(dsn: str, spec: ModelSpec, model: Held, together: int) -> Iterator[str]:
    """One text is encoded at a time, and one batch of so many may wait."""
    pictures = [drawn(number) for number in range(8)]
    vectors = model.encode_images([picture.image for picture in pictures])
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, spec, model.identity, pictures, vectors)
    bounds = {"encoder_threads": 1, "encoder_batch": together, "encoder_waiting": together}
    with running(settings(dsn, **bounds, text_cache=0), lambda *_: model) as url:
        wait_until_ready(url)
        model.calls.clear()
        yield url


def test_searches_that_wait_together_are_encoded_as_one(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """One text is held in the encoder's only thread and five wait, for which there is room: the
    seventh is refused, and the five are one call. Their answers are those of texts alone."""
    model = Held(tiny)
    with _service(new_database(), tiny_spec, model, 5) as url, ThreadPoolExecutor(7) as clients:
        with model.held():
            asked = {clients.submit(_search, url, number): number for number in range(7)}
            refused, held = wait(asked, PATIENCE, FIRST_COMPLETED)
        assert [_answer(one) for one in refused] == [(503, "busy")]
        together = {asked[one]: one.result().json() for one in held}
        assert [len(call) for call in model.calls] == [1, 5]
        for number, answer in together.items():
            alone = _search(url, number).json()
            assert _scores(answer) == pytest.approx(_scores(alone), abs=1e-5)


def test_the_texts_of_a_batch_are_encoded_as_one(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """Texts that occur twice once, and those beyond the encoder's batch after it. The answers are
    in the order of the searches, and equal those of each alone."""
    model = Held(tiny)
    asked = [_query(number) for number in (3, 1, 4, 1, 5)]
    asked.insert(2, {"image_id": drawn(2).image_id, "k": 3})
    asked.insert(4, {"image_id": "none"})
    with _service(new_database(), tiny_spec, model, 3) as url:
        items = web.post(f"{url}/v1/search/batch", json={"searches": asked}).json()["items"]
        assert [len(call) for call in model.calls] == [3, 1]
        for query, item in zip(asked, items, strict=True):
            alone = web.post(f"{url}/v1/search", json=query).json()
            if "hits" in alone:
                assert _scores(item["answer"]) == pytest.approx(_scores(alone), abs=1e-5)
                encoded = item["answer"]["timings_ms"]["encode"] > 0
                assert encoded is ("text" in query)
            else:
                assert item["problem"]["code"] == alone["code"] == "not_found"


def test_the_text_of_a_client_that_left_is_not_encoded(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """It waits with another one, and its connection is closed meanwhile."""
    model = Held(tiny)
    with _service(new_database(), tiny_spec, model, 2) as url, ThreadPoolExecutor(3) as clients:
        with model.held():
            running = clients.submit(_search, url, 1)
            assert model.called.wait(PATIENCE)
            _ask_and_leave(url, 2)
            asked = [clients.submit(_search, url, number) for number in (3, 4)]
            # There is room for two, so both are there once one is refused.
            refused, held = wait(asked, PATIENCE, FIRST_COMPLETED)
        assert [_answer(one) for one in refused] == [(503, "busy")]
        assert [one.result().status_code for one in (running, *held)] == [200, 200]
        assert [len(call) for call in model.calls] == [1, 1]


def _ask_and_leave(url: str, number: int) -> None:
    at = httpx.URL(url)
    assert at.port
    body = json.dumps(_query(number)).encode()
    head = (
        f"POST /v1/search HTTP/1.1\r\nHost: {at.host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((at.host, at.port)) as client:
        client.sendall(head.encode() + body)


def _query(number: int) -> dict[str, object]:
    return {"text": f"a photo of {number} things", "k": 8}


def _search(url: str, number: int) -> httpx.Response:
    return web.post(f"{url}/v1/search", json=_query(number))


def _answer(asked: "Future[httpx.Response]") -> tuple[int, str]:
    response = asked.result()
    return response.status_code, response.json()["code"]


def _scores(answer: dict[str, list[dict[str, float]]]) -> dict[float, float]:
    assert answer["hits"]
    return {hit["image_id"]: hit["score"] for hit in answer["hits"]}
