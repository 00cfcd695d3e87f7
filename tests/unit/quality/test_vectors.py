"""Every kind of faulty vector is detected."""

import numpy as np
from numpy.typing import NDArray

from clip_assets.quality.vectors import inspect


def sound() -> NDArray[np.float32]:
    vectors = np.random.default_rng(0).standard_normal((100, 32)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_sound_vectors_pass() -> None:
    """Random unit vectors have no faults."""
    assert inspect(sound()).text == ""


def test_vectors_that_are_not_finite_are_counted() -> None:
    """A single NaN makes a vector faulty."""
    vectors = sound()
    vectors[3, 5] = np.nan
    assert inspect(vectors).text == "1 vectors are not finite"


def test_vectors_that_are_not_normalised_are_counted() -> None:
    """Vectors of another length than 1 are faulty."""
    assert inspect(sound() * 3).not_unit == 100


def test_a_collapsed_model_is_detected() -> None:
    """A model that gives every image the same vector is faulty."""
    assert "in one direction" in inspect(np.repeat(sound()[:1], 50, axis=0)).text


def test_a_photo_and_its_copy_are_no_fault() -> None:
    """The newest shard may hold only these two."""
    assert inspect(np.repeat(sound()[:1], 2, axis=0)).text == ""
