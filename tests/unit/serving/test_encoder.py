"""Each text is encoded once, and only valid vectors reach the database."""

import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clip_assets.errors import ModelError
from clip_assets.model import ModelIdentity
from serving.bulkhead import Bulkhead, Deadline
from serving.encoder import EncodedText, Lanes, QueryEncoder
from serving.errors import Busy

IDENTITY = ModelIdentity(name="m", pretrained=None, weights="w", preprocess="p", dim=2)


class CountingModel:
    """Encodes each text as `answer(text)` and records the calls."""

    identity, enough = IDENTITY, 2

    def __init__(self, answer: Callable[[str], list[float]]) -> None:
        self.answer = answer
        self.calls: list[str] = []

    def encode_text(self, texts: list[str], /) -> NDArray[np.float32]:
        self.calls += texts
        return np.array([self.answer(text) for text in texts], np.float32)

    def within_context(self, text: str, /) -> str:
        return text[:10]

    def encode_images(self, images: list[Image.Image], /) -> NDArray[np.float32]:
        return np.array([[0.0, 1.0]] * len(images), np.float32)


def _lanes() -> Lanes:
    return Lanes(Bulkhead("encoder", 1, 1), Bulkhead("encoder", 1, 1))


def _encode(model: CountingModel, *texts: str, cache: int = 2) -> list[EncodedText]:
    async def scenario() -> list[EncodedText]:
        encoder = QueryEncoder(model, _lanes(), cache)
        return [(await encoder.texts([text], Deadline.within(1)))[0] for text in texts]

    return asyncio.run(scenario())


def test_a_repeated_text_is_encoded_once() -> None:
    """The second time, the vector comes from the cache."""
    model = CountingModel(lambda _: [1.0, 0.0])
    first, again = _encode(model, "a cloud", "a cloud")
    assert model.calls == ["a cloud"]
    assert first is again


def test_the_cache_drops_the_least_recently_used_text() -> None:
    """The cache stays within its size and keeps the texts used last."""
    model = CountingModel(lambda _: [1.0, 0.0])
    _encode(model, "a", "b", "a", "c", "a", "b", cache=2)
    assert model.calls == ["a", "b", "c", "b"]


def test_a_cache_of_size_zero_keeps_nothing() -> None:
    """A size of zero turns caching off."""
    model = CountingModel(lambda _: [1.0, 0.0])
    _encode(model, "a", "a", cache=0)
    assert model.calls == ["a", "a"]


def test_a_text_beyond_the_context_says_what_was_read() -> None:
    """Also when it comes from the cache; of a text that fits, nothing is said."""
    model = CountingModel(lambda _: [1.0, 0.0])
    short, long, again = _encode(model, "a cloud", "a cloud and the sky", "a cloud and the sky")
    assert (short.read, long.read, again.read) == (None, "a cloud an", "a cloud an")


@pytest.mark.parametrize("vector", [[1.0], [np.nan, 0.0], [3.0, 4.0], [0.0, 0.0]])
def test_an_invalid_vector_never_reaches_the_database(vector: list[float]) -> None:
    """A vector of the wrong dimension, with NaN or not of length 1 is refused before any SQL."""
    with pytest.raises(ModelError):
        _encode(CountingModel(lambda _: vector), "a")


def test_warming_up_runs_both_towers() -> None:
    """A model that cannot encode a text or an image fails before it serves requests."""
    model = CountingModel(lambda _: [1.0])
    with pytest.raises(ModelError):
        QueryEncoder(model, _lanes(), 0).warm()


def test_uploads_leave_texts_their_threads() -> None:
    """With every thread and place of the uploads taken, one more upload is refused and a text is
    encoded."""

    async def scenario() -> None:
        model = CountingModel(lambda _: [1.0, 0.0])
        lanes = Lanes(Bulkhead("encoder", 1, 1), Bulkhead("encoder", 1, 1))
        encoder, decoding = QueryEncoder(model, lanes, 2), threading.Event()

        def decode() -> Image.Image:
            decoding.wait(600)
            return Image.new("RGB", (9, 9))

        uploads = [
            asyncio.create_task(encoder.image(decode, Deadline.within(600))) for _ in range(2)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await encoder.image(decode, Deadline.within(600))
        assert (await encoder.texts(["a"], Deadline.within(600)))[0].vector[0] == 1.0
        decoding.set()
        await asyncio.gather(*uploads)

    asyncio.run(scenario())
