"""Each way in which vectors go wrong is seen."""

import numpy as np
from numpy.typing import NDArray

from clip_assets.quality.vectors import inspect


def sound() -> NDArray[np.float32]:
    vectors = np.random.default_rng(0).standard_normal((100, 32)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_sound_vectors_pass() -> None:
    """Random unit vectors have no fault."""
    assert inspect(sound()).text == ""


def test_not_finite() -> None:
    """A single NaN is counted."""
    vectors = sound()
    vectors[3, 5] = np.nan
    assert inspect(vectors).text == "1 vectors are not finite"


def test_not_normalised() -> None:
    """Vectors whose normalisation was skipped are counted."""
    assert inspect(sound() * 3).not_unit == 100


def test_collapse() -> None:
    """A model that gives every image the same vector is seen."""
    assert "same way" in inspect(np.repeat(sound()[:1], 50, axis=0)).text
