"""Queries become vectors once, and only vectors that a table may be asked with."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clip_assets.errors import ModelError
from clip_assets.model import ModelIdentity
from serving.bulkhead import Bulkhead, Deadline
from serving.encoder import QueryEncoder

IDENTITY = ModelIdentity(name="m", pretrained=None, weights="w", preprocess="p", dim=2)


class CountingModel:
    """Answers each text with `answer(text)` and counts the calls."""

    identity = IDENTITY

    def __init__(self, answer: Callable[[str], list[float]]) -> None:
        self.answer = answer
        self.calls: list[str] = []

    def encode_text(self, texts: list[str], /) -> NDArray[np.float32]:
        self.calls += texts
        return np.array([self.answer(text) for text in texts], np.float32)

    def encode_images(self, images: list[Image.Image], /) -> NDArray[np.float32]:
        return np.array([[0.0, 1.0]] * len(images), np.float32)


def _encode(model: CountingModel, *texts: str, cache: int = 2) -> list[NDArray[np.float32]]:
    async def scenario() -> list[NDArray[np.float32]]:
        encoder = QueryEncoder(model, Bulkhead("encoder", 1, 1), cache)
        return [await encoder.text(text, Deadline.within(1)) for text in texts]

    return asyncio.run(scenario())


def test_a_text_is_encoded_once() -> None:
    """The same text again costs the model nothing and gives the same vector."""
    model = CountingModel(lambda _: [1.0, 0.0])
    first, again = _encode(model, "a cloud", "a cloud")
    assert model.calls == ["a cloud"]
    assert first is again


def test_the_text_asked_longest_ago_is_forgotten_first() -> None:
    """The cache stays within its size and keeps what was used last."""
    model = CountingModel(lambda _: [1.0, 0.0])
    _encode(model, "a", "b", "a", "c", "a", "b", cache=2)
    assert model.calls == ["a", "b", "c", "b"]


def test_a_cache_of_size_zero_keeps_nothing() -> None:
    """Caching can be switched off."""
    model = CountingModel(lambda _: [1.0, 0.0])
    _encode(model, "a", "a", cache=0)
    assert model.calls == ["a", "a"]


@pytest.mark.parametrize("vector", [[1.0], [np.nan, 0.0], [3.0, 4.0], [0.0, 0.0]])
def test_a_bad_vector_never_reaches_the_table(vector: list[float]) -> None:
    """Wrong dimension, a non-number or another length than one is refused before any SQL."""
    with pytest.raises(ModelError):
        _encode(CountingModel(lambda _: vector), "a")


def test_a_warm_encoder_has_used_both_towers() -> None:
    """Warming runs a text and an image; a model that cannot do one is found before it serves."""
    model = CountingModel(lambda _: [1.0])
    with pytest.raises(ModelError):
        QueryEncoder(model, Bulkhead("encoder", 1, 1), 0).warm()
