"""A model is asked for in one way, and its folder name follows from that."""

import pytest
from pydantic import ValidationError

from clip_assets.model import ModelSpec


def test_slug() -> None:
    """Name, weights and precision each tell folders apart."""
    spec = ModelSpec(name="ViT-B-32", pretrained="laion2b_s34b_b79k")
    assert spec.slug == "vit-b-32_laion2b-s34b-b79k_fp32"
    assert spec.model_copy(update={"precision": "bf16"}).slug != spec.slug
    assert ModelSpec(name="local-dir:/x/small", untrained_seed=0).slug == "small_untrained-0_fp32"
    assert ModelSpec(name="hf-hub:org/ViT-L-14").slug == "vit-l-14_fp32"


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "ViT-B-32"},
        {"name": "ViT-B-32", "pretrained": "openai", "untrained_seed": 0},
        {"name": "hf-hub:org/model", "pretrained": "openai"},
    ],
)
def test_weights_come_from_one_place(fields: dict[str, object]) -> None:
    """No weights, or two origins of them, is an error; never a silent substitute."""
    with pytest.raises(ValidationError, match="exactly one place"):
        ModelSpec.model_validate(fields)
