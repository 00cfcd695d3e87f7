"""The encoder loads exactly the requested model or fails, and preprocesses as open_clip does."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file

from clip_assets.errors import ModelError
from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder, Normalise, _identity, _load_float32, load
from clip_assets.node.transform import Transform


@pytest.fixture(scope="module")
def tiny(tiny_spec: ModelSpec) -> Encoder:
    return load(tiny_spec, "cpu")


@pytest.mark.parametrize(
    "texts", [["a cloud"], ["a cloud", "two dogs at the sea"], ["a"] * 3, ["a cloud " * 40]]
)
def test_padding_is_left_out_and_changes_nothing(tiny: Encoder, texts: list[str]) -> None:
    """The tower gets no more tokens than the longest text has; vectors are those of the whole
    context, but for rounding."""
    tokens = tiny._tokenize(texts)
    with torch.inference_mode():
        whole = F.normalize(tiny._model.encode_text(tokens), dim=-1).numpy()
    seen: list[int] = []
    watch = tiny._model.transformer.register_forward_pre_hook(
        lambda _, given: seen.append(given[0].shape[1])
    )
    found = tiny.encode_text(texts)
    watch.remove()
    assert np.abs(found - whole).max() < 1e-6
    assert seen == [int((tokens != 0).sum(dim=-1).max())]


def test_texts_encoded_together_have_the_vectors_they_have_alone(tiny: Encoder) -> None:
    """But for rounding, below 1e-6 in each of their numbers, however long the others are."""
    texts = [f"{'a cloud ' * (number % 7)}number {number}" for number in range(20)]
    alone = np.concatenate([tiny.encode_text([text]) for text in texts])
    for most in (2, 7, 16, 20):
        batches = [texts[first : first + most] for first in range(0, len(texts), most)]
        together = np.concatenate([tiny.encode_text(batch) for batch in batches])
        assert np.abs(together - alone).max() < 1e-6


def test_the_layout_of_the_weights_changes_neither_identity_nor_vectors(
    tiny: Encoder, tiny_spec: ModelSpec
) -> None:
    """On a processor they lie in memory as one text reads them; their hash is of their values."""
    plain = _load_float32(tiny_spec).eval()
    assert tiny._model.transformer.resblocks[0].mlp.c_fc.weight.t().is_contiguous()
    assert _identity(tiny_spec, tiny._model) == _identity(tiny_spec, plain)
    with torch.inference_mode():
        expected = F.normalize(plain.encode_text(tiny._tokenize(["a cloud"])), dim=-1).numpy()
    assert np.abs(tiny.encode_text(["a cloud"]) - expected).max() < 1e-6


def test_vectors_have_unit_length(tiny: Encoder) -> None:
    """Text and image vectors are float32 of length 1."""
    image = tiny.encode_images([Image.new("RGB", (60, 40), "red")])
    text = tiny.encode_text(["a cloud", "a dog"])
    assert image.dtype == text.dtype == np.float32
    assert text.shape == (2, tiny.dim)
    assert np.allclose(np.linalg.norm([*image, *text], axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("resize_mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [32, (32, 32), (24, 32)])
def test_the_model_sees_what_open_clips_transform_gives(
    resize_mode: str, interpolation: str, size: int | tuple[int, int]
) -> None:
    """Even of noise, no sample differs by more than two of 255 levels, and most by none."""
    config = PreprocessCfg(size, resize_mode=resize_mode, interpolation=interpolation)
    theirs = image_transform_v2(config, is_train=False)
    ours, normalise = Transform(config), Normalise(config, "cpu")
    for height, width in ((97, 61), (61, 97), (32, 32), (32, 70), (20, 11)):
        noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
        found = normalise(torch.from_numpy(ours(noise).copy())[None])[0]
        expected = theirs(Image.fromarray(noise))
        assert found.shape == expected.shape
        levels = (found - expected).abs() * 255 * torch.tensor(config.std)[:, None, None]
        # Pillow may resize along the other side first, and both round in between.
        assert levels.max() < 2.01 and levels.mean() < 0.25, (height, width)


def test_identity_does_not_depend_on_precision(tiny_spec: ModelSpec, tiny: Encoder) -> None:
    """An index made in bf16 on a GPU accepts queries encoded in fp32 on a CPU."""
    lower = load(tiny_spec.model_copy(update={"precision": "bf16"}), "cpu")
    assert lower.identity.key == tiny.identity.key
    cosine = lower.encode_text(["a cloud"]) @ tiny.encode_text(["a cloud"]).T
    assert cosine > 0.999


def test_other_weights_have_another_identity(tiny_spec: ModelSpec, tiny: Encoder) -> None:
    """The same architecture with different weights is a different model."""
    other = load(tiny_spec.model_copy(update={"untrained_seed": 1}), "cpu")
    assert other.identity.key != tiny.identity.key


def test_weights_that_differ_from_the_pinned_hash_are_refused(
    tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """Weights load only if their hash equals the pinned `sha256`."""
    pinned = tiny_spec.model_copy(update={"sha256": tiny.identity.weights})
    assert load(pinned, "cpu").identity == tiny.identity
    with pytest.raises(ModelError, match="Use the right checkpoint"):
        load(tiny_spec.model_copy(update={"sha256": "0" * 64}), "cpu")


def test_an_unknown_model_name_suggests_similar_ones() -> None:
    """A misspelt name is an error that suggests similar names."""
    with pytest.raises(ModelError, match=r"no model named ViT-B-23.*ViT-B-32"):
        load(ModelSpec(name="ViT-B-23", pretrained="openai"))


def test_a_config_without_preprocessing_is_refused(tmp_path: Path) -> None:
    """Otherwise images would be scaled as for other models, and the vectors be wrong unsaid."""
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {}}')
    with pytest.raises(ModelError, match=r"has no `preprocess_cfg`.*Add it"):
        load(ModelSpec(name=f"local-dir:{tmp_path}"))


def test_a_missing_tokenizer_is_named_as_such(
    tiny_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error does not send a user who has the weights to look for weights."""

    def unreachable(_: str) -> None:
        raise OSError("We couldn't connect to load this file")

    monkeypatch.setattr(open_clip, "get_tokenizer", unreachable)
    with pytest.raises(ModelError, match=r"its tokenizer could not be loaded; the weights could"):
        load(tiny_spec, "cpu")


def test_an_unknown_weights_tag_lists_the_known_ones() -> None:
    """A tag that open_clip does not know is an error that lists the known tags."""
    with pytest.raises(ModelError, match="laion2b_s34b_b79k"):
        load(ModelSpec(name="ViT-B-32", pretrained="nonsense"))


def test_unavailable_weights_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the hub and without a local checkpoint, no other weights are substituted."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"could not be loaded.*give a local checkpoint"):
        load(ModelSpec(name="ViT-B-32", pretrained="laion2b_s34b_b79k"))


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    """The error says in one sentence that the checkpoint does not fit."""
    file = tmp_path / "other.safetensors"
    save_file({"visual.proj": torch.zeros(3, 3)}, file)
    with pytest.raises(ModelError, match="does not fit ViT-S-32"):
        load(ModelSpec(name="ViT-S-32", pretrained=str(file)))
