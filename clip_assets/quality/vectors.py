"""Checks that embeddings are finite, of unit length and not all alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class VectorFaults:
    """Faults of one shard; `collapse` is the length of the mean vector, 1 if all are equal."""

    not_finite: int
    not_unit: int
    collapse: float

    @property
    def text(self) -> str:
        """What is wrong, or an empty string."""
        found = []
        if self.not_finite:
            found.append(f"{self.not_finite} vectors are not finite")
        if self.not_unit:
            found.append(f"{self.not_unit} vectors are not of unit length")
        if self.collapse > COLLAPSED:
            found.append(f"all vectors point in one direction (mean length {self.collapse:.5f})")
        return "; ".join(found)


COLLAPSED = 0.9999
"""Mean length above which all vectors lie within about one degree: images are indistinguishable."""
_FEWEST = 10


def inspect(vectors: NDArray[np.float32]) -> VectorFaults:
    """Inspect float32[n, dim]. A few vectors may be alike, such as those of a photo and its copies,
    so only ten or more count as collapsed."""
    finite = np.isfinite(vectors).all(axis=1)
    norms = np.linalg.norm(vectors[finite], axis=1)
    many = finite.sum() >= _FEWEST
    collapse = float(np.linalg.norm(vectors[finite].mean(axis=0))) if many else 0.0
    return VectorFaults(
        not_finite=int((~finite).sum()),
        not_unit=int((abs(norms - 1) > UNIT_TOLERANCE).sum()),
        collapse=collapse,
    )
