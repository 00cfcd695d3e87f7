"""The specification of an index."""

from dataclasses import dataclass

from clip_assets.index.vector_type import VectorType
from clip_assets.model import ModelSpec


@dataclass(frozen=True)
class IndexSpec:
    """The vectors of one collection by one model, stored as one type."""

    collection: str
    model: ModelSpec
    vector_type: VectorType = VectorType.HALFVEC
