"""Searches that wait for the encoder at the same time are encoded together, over real HTTP."""

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import httpx
import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from serving.encoder import Model
from tests import web
from tests.integration.serving.support import drawn, publish, running, settings, wait_until_ready

PATIENCE = 600


class Held(Encoder):
    """Encodes texts once `may_go` is set, and keeps each call's texts."""

    def __init__(self, encoder: Encoder) -> None:
        self.__dict__ = encoder.__dict__
        self.calls: list[list[str]] = []
        self.may_go = threading.Event()
        self.may_go.set()

    def encode_text(self, texts: list[str]) -> NDArray[np.float32]:  # type: ignore[override]
        self.calls.append(texts)
        assert self.may_go.wait(PATIENCE)
        return super().encode_text(texts)


def test_searches_that_wait_together_are_encoded_as_one(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """One text is held in the encoder's only thread and five wait, for which there is room: the
    seventh is refused, and the five are one call. Their answers are those of texts alone."""
    dsn, model = new_database(), Held(tiny)
    pictures = [drawn(number) for number in range(8)]
    vectors = tiny.encode_images([picture.image for picture in pictures])
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, tiny_spec, tiny.identity, pictures, vectors)
    bounds = {"encoder_threads": 1, "encoder_batch": 5, "encoder_waiting": 5, "text_cache": 0}

    def load(*_: object) -> Model:
        return model

    with running(settings(dsn, **bounds), load) as url, ThreadPoolExecutor(7) as clients:
        wait_until_ready(url)
        model.calls.clear()
        model.may_go.clear()
        try:
            asked = {clients.submit(_search, url, number): number for number in range(7)}
            refused, held = wait(asked, PATIENCE, FIRST_COMPLETED)
        finally:
            model.may_go.set()
        assert [_answer(one) for one in refused] == [(503, "busy")]
        together = {asked[one]: one.result().json() for one in held}
        assert [len(call) for call in model.calls] == [1, 5]
        for number, answer in together.items():
            alone = _search(url, number).json()
            assert _scores(answer) == pytest.approx(_scores(alone), abs=1e-5)


def _search(url: str, number: int) -> httpx.Response:
    return web.post(f"{url}/v1/search", json={"text": f"a photo of {number} things", "k": 8})


def _answer(asked: "Future[httpx.Response]") -> tuple[int, str]:
    response = asked.result()
    return response.status_code, response.json()["code"]


def _scores(answer: dict[str, list[dict[str, float]]]) -> dict[float, float]:
    return {hit["image_id"]: hit["score"] for hit in answer["hits"]}
