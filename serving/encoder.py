"""Encodes queries with exactly the live release's model, off the event loop, in bulkheads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from PIL import Image

from clip_assets.errors import ModelError
from clip_assets.model import ModelIdentity

from .bulkhead import Bulkhead, Deadline

Vector = NDArray[np.float32]
NORM_TOLERANCE = 1e-3


class Model(Protocol):
    """The part of `clip_assets.node.encoder.Encoder` that the service uses."""

    identity: ModelIdentity

    @property
    def enough(self) -> int: ...

    def encode_text(self, texts: list[str], /) -> Vector: ...
    def within_context(self, text: str, /) -> str: ...
    def encode_images(self, images: list[Image.Image], /) -> Vector: ...


@dataclass(frozen=True)
class EncodedText:
    """Unit vector float32[dim] of a text. `read` is the start of the text that the model reads, or
    None if it reads all of it."""

    vector: Vector
    read: str | None = None


@dataclass(frozen=True)
class Lanes:
    """The bulkheads of encoding. Uploads have their own: one costs as much as a hundred texts."""

    texts: Bulkhead
    uploads: Bulkhead

    def close(self) -> None:
        self.texts.close()
        self.uploads.close()


class QueryEncoder:
    """One model with its cache; they are replaced together."""

    def __init__(self, model: Model, lanes: Lanes, cache_size: int) -> None:
        self.identity = model.identity
        self._model = model
        self._lanes = lanes
        # Used on the event loop alone, so it needs no lock.
        self._texts: LRUCache[str, EncodedText] = LRUCache(cache_size)

    @property
    def enough(self) -> int:
        """The short side, in pixels, that the model needs of an uploaded photo."""
        return self._model.enough

    def warm(self) -> None:
        """Run both towers once: the first call is many times slower, and no user should wait."""
        self._encoded_text("a photo of a cloud")
        self._encoded_image(Image.new("RGB", (64, 64)))

    async def text(self, text: str, deadline: Deadline) -> EncodedText:
        """The text's vector, and how much of the text it stands for."""
        cached = self._texts.get(text)
        if cached is not None:
            deadline.notes["encoder_ms"] = 0.0
            return cached
        encoded = await self._lanes.texts.run(lambda: self._encoded_text(text), deadline)
        if self._texts.maxsize:
            self._texts[text] = encoded
        return encoded

    async def image(self, decode: Callable[[], Image.Image], deadline: Deadline) -> Vector:
        """Unit vector float32[dim] of an image, which is decoded in the encoder's thread.

        Decoding costs as much as encoding, so the same bulkhead limits both.
        """
        return await self._lanes.uploads.run(lambda: self._encoded_image(decode()), deadline)

    def _encoded_text(self, text: str) -> EncodedText:
        vector = self._checked(self._model.encode_text([text]))
        read = self._model.within_context(text)
        return EncodedText(vector, None if read == text else read)

    def _encoded_image(self, image: Image.Image) -> Vector:
        return self._checked(self._model.encode_images([image]))

    def _checked(self, vectors: Vector) -> Vector:
        """The vector, checked: of this model's dimension, finite and of unit length."""
        if vectors.shape != (1, self.identity.dim) or not np.isfinite(vectors).all():
            raise ModelError(f"{self.identity.short} returned no usable vector for this query.")
        if abs(float(np.linalg.norm(vectors[0])) - 1) > NORM_TOLERANCE:
            raise ModelError(f"{self.identity.short} returned a vector that is not of unit length.")
        vector: Vector = vectors[0]
        return vector
