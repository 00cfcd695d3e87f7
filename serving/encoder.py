"""Encodes queries with exactly the live release's model, off the event loop, in bulkheads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from PIL import Image

from clip_assets.errors import ModelError
from clip_assets.model import ModelIdentity

from .batches import Batches
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
    """Unit vector float32[dim] of a text. `read` is the beginning of the text, as far as the model
    reads it; None if it reads all of it."""

    vector: Vector
    read: str | None = None


@dataclass(frozen=True)
class Lanes:
    """The bulkheads of encoding. Uploads have their own: one costs as much as a hundred texts.

    Texts are encoded up to `together` at once.
    """

    texts: Bulkhead
    uploads: Bulkhead
    together: int = 1

    def close(self) -> None:
        self.texts.close()
        self.uploads.close()


class QueryEncoder:
    """One model with its cache; they are replaced together."""

    def __init__(self, model: Model, lanes: Lanes, cache_size: int) -> None:
        self.identity = model.identity
        self._model = model
        self._uploads = lanes.uploads
        self._batches = Batches("encoder", lanes.texts, self._encoded_texts, lanes.together)
        # Used only on the event loop, so it needs no lock.
        self._texts: LRUCache[str, EncodedText] = LRUCache(cache_size)

    @property
    def enough(self) -> int:
        """The short side, in pixels, that the model needs of an uploaded photo."""
        return self._model.enough

    def warm(self) -> None:
        """Run both towers once: the first call is many times slower, and no user should wait."""
        self._encoded_texts(["a photo of a cloud"])
        self._encoded_image(Image.new("RGB", (64, 64)))

    async def texts(self, texts: Sequence[str], deadline: Deadline) -> list[EncodedText]:
        """The vector of each text, and how much of the text the model reads.

        Encoding a text in a batch changes its vector by rounding, below 1e-6 at fp32.
        """
        found = {text: self._texts.get(text) for text in texts}
        missing = [text for text, encoded in found.items() if encoded is None]
        if not missing:
            deadline.notes["encoder_ms"] = 0.0
        else:
            encoded = await self._batches.run(missing, deadline)
            found.update(zip(missing, encoded, strict=True))
            if self._texts.maxsize:
                self._texts.update(zip(missing, encoded, strict=True))
        return [one for text in texts if (one := found[text])]

    async def image(self, decode: Callable[[], Image.Image], deadline: Deadline) -> Vector:
        """Unit vector float32[dim] of an image, which `decode` returns in the encoder's thread.

        Decoding costs as much as encoding, so the same bulkhead limits both.
        """
        return await self._uploads.run(lambda: self._encoded_image(decode()), deadline)

    def _encoded_texts(self, texts: list[str]) -> list[EncodedText]:
        vectors = self._checked(self._model.encode_text(texts), len(texts))
        reads = [self._model.within_context(text) for text in texts]
        # A copy, because a view would keep the whole batch in memory while it is cached.
        return [
            EncodedText(vector.copy(), None if read == text else read)
            for vector, text, read in zip(vectors, texts, reads, strict=True)
        ]

    def _encoded_image(self, image: Image.Image) -> Vector:
        vector: Vector = self._checked(self._model.encode_images([image]), 1)[0]
        return vector

    def _checked(self, vectors: Vector, count: int) -> Vector:
        """The vectors. Raises ModelError unless float[count, dim], finite and of unit length."""
        if vectors.shape != (count, self.identity.dim) or not np.isfinite(vectors).all():
            raise ModelError(f"{self.identity.short} returned no usable vector for this query.")
        if (np.abs(np.linalg.norm(vectors, axis=1) - 1) > NORM_TOLERANCE).any():
            raise ModelError(f"{self.identity.short} returned a vector that is not of unit length.")
        return vectors
