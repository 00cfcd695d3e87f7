"""A model specification names one source of weights and determines the folder name."""

import pytest
from pydantic import ValidationError

from clip_assets.model import ModelSpec


def test_the_slug_has_name_weights_and_precision() -> None:
    """Models that differ in any of these are stored in different folders."""
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
def test_weights_must_come_from_exactly_one_place(fields: dict[str, object]) -> None:
    """No weights, or two sources of weights, is an error."""
    with pytest.raises(ValidationError, match="exactly one place"):
        ModelSpec.model_validate(fields)
