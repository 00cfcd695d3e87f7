"""A model specification names one source of weights and determines the folder name."""

import pytest
from pydantic import ValidationError

from clip_assets.errors import ModelError, StoreError
from clip_assets.model import ModelIdentity, ModelSpec, require_same, require_same_texts

OURS = ModelIdentity(
    name="ViT-B-32", pretrained="openai", weights="a" * 64, preprocess="b" * 64, dim=512, decode=1
)


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


def refused(**changed: object) -> str:
    """What is said of a model that differs in these fields."""
    with pytest.raises(ModelError) as caught:
        require_same(
            OURS.model_copy(update=changed), OURS, "It differs from that", ", or do without"
        )
    return str(caught.value)


def test_the_same_model_under_another_name() -> None:
    """Vectors may be compared if nothing differs that decides their values."""
    require_same(OURS.model_copy(update={"name": "vit", "decode": None}), OURS, "", "")


def test_texts_may_be_compared_whatever_decodes_the_images() -> None:
    """They need the same weights alone."""
    require_same_texts(OURS.model_copy(update={"preprocess": "c" * 64, "decode": 2}), OURS, "", "")
    with pytest.raises(ModelError, match="weights"):
        require_same_texts(OURS.model_copy(update={"weights": "c" * 64}), OURS, "", "")


def test_other_weights() -> None:
    """The error has both hashes in full, because one of them can be pinned."""
    assert refused(weights="c" * 64) == (
        "It differs from that (ViT-B-32/openai) in its "
        f"weights (sha256 {'c' * 64} instead of sha256 {'a' * 64}). "
        "Restore the checkpoint with the weights you mean and pin it with `sha256` in the model "
        "block, or do without."
    )


def test_other_dimensions() -> None:
    """If the dimensions differ, the error says so."""
    said = refused(weights="c" * 64, dim=768)
    assert f"{'c' * 64}, 768 dimensions instead of sha256 {'a' * 64}, 512)" in said


@pytest.mark.parametrize("decode", [1, None])
def test_other_preprocessing(decode: int | None) -> None:
    """If only preprocessing differs, the error does not ask for another checkpoint."""
    assert refused(preprocess="c" * 64, decode=decode) == (
        "It differs from that (ViT-B-32/openai) in its "
        f"preprocessing (sha256 {'c' * 12} instead of sha256 {'b' * 12}). "
        "Restore the `preprocess_cfg` you mean, from its open_clip_config.json or the version of "
        "open_clip, or do without."
    )


def test_another_decode_version() -> None:
    """Where this program decodes images another way, the remedy is a version of it."""
    assert refused(preprocess="c" * 64, decode=2) == (
        "It differs from that (ViT-B-32/openai) in its decode version (2 instead of 1). "
        "Use the version of clip_assets with decode version 1, or do without."
    )


def test_another_name() -> None:
    """Another model is told by its name first, which alone needs a remedy."""
    said = refused(name="ViT-L-14", weights="c" * 64, preprocess="d" * 64, dim=768)
    assert said.startswith(
        "It differs from that (ViT-B-32/openai) in its "
        "name (ViT-L-14/openai instead of ViT-B-32/openai) and weights ("
    )
    assert said.endswith(" Use ViT-B-32/openai, or do without.")


def test_several_parts() -> None:
    """Each part that differs has its values and its remedy."""
    said = refused(weights="c" * 64, preprocess="d" * 64)
    assert " and preprocessing (sha256 dddddddddddd instead of" in said
    assert "in the model block and restore the `preprocess_cfg` you mean" in said


def test_the_error_of_the_caller() -> None:
    """The caller chooses the class of the error."""
    with pytest.raises(StoreError, match="The shard differs"):
        require_same(OURS.model_copy(update={"dim": 1}), OURS, "The shard differs", "", StoreError)
