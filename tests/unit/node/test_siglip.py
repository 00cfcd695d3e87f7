"""SigLIP from local files: the tokenizer is apart from the weights, and neither needs a network."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from clip_assets.errors import ModelError
from clip_assets.model import ModelSpec
from clip_assets.node import encoder

NAME = "test-tiny-SigLIP"
WORDS = ("a", "photo", "of", "cat", "dog")
CONFIG: dict[str, Any] = {
    "embed_dim": 32,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {
        "context_length": 8,
        "vocab_size": 16,
        "hf_tokenizer_name": "org/no-such-tokenizer",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 32,
        "heads": 2,
        "layers": 1,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
    },
}
"""That of open_clip's ViT-B-16-SigLIP, with a plain image tower and small numbers."""


@pytest.fixture
def siglip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """A tiny architecture that open_clip knows, with random weights in a file; the hub is away."""
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / f"{NAME}.json").write_text(json.dumps(CONFIG))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", [configs])
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {NAME: CONFIG})
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    torch.manual_seed(0)
    model = open_clip.create_model(NAME, load_weights=False)
    checkpoint = tmp_path / "siglip/open_clip_model.safetensors"
    checkpoint.parent.mkdir()
    save_file(model.state_dict(), checkpoint)
    return ModelSpec(name=NAME, pretrained=str(checkpoint))


def _write_tokenizer(folder: Path) -> None:
    """One token a word, as `save_pretrained` writes it."""
    transformers = pytest.importorskip("transformers", reason="an extra: clip-assets[transformers]")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: place for place, word in enumerate(("<pad>", "</s>", "<unk>", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def test_a_tokenizer_beside_the_checkpoint_is_used(siglip: ModelSpec) -> None:
    """Texts and images are encoded with nothing from the hub; the text is canonicalised."""
    assert siglip.pretrained
    _write_tokenizer(Path(siglip.pretrained).parent)
    model = encoder.load(siglip, "cpu")
    cat, loud, dog = model.encode_text(["a photo of a cat", "A photo, of a CAT!", "a dog"])
    assert np.allclose(np.linalg.norm([cat, dog], axis=1), 1, atol=1e-5)
    assert np.allclose(cat, loud, atol=1e-6)
    assert not np.allclose(cat, dog, atol=1e-3)
    pixels = np.zeros((32, 32, 3), np.uint8)
    assert model.encode_pixels([pixels]).shape == (1, 32)
    assert model.within_context("a photo of a cat " * 3) == "a photo of a cat a photo"


def test_a_folder_with_weights_and_tokenizer_is_a_model(siglip: ModelSpec) -> None:
    """`local-dir:` needs no hub either."""
    assert siglip.pretrained
    folder = Path(siglip.pretrained).parent
    _write_tokenizer(folder)
    config = {"model_cfg": CONFIG, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    model = encoder.load(ModelSpec(name=f"local-dir:{folder}"), "cpu")
    assert model.encode_text(["a dog"]).shape == (1, 32)


def test_without_its_tokenizer_the_error_names_it_and_not_the_weights(siglip: ModelSpec) -> None:
    """The weights are there; what is missing is said, and where to put it."""
    pytest.importorskip("transformers", reason="an extra: clip-assets[transformers]")
    with pytest.raises(ModelError) as raised:
        encoder.load(siglip, "cpu")
    message = str(raised.value)
    assert message.startswith(f"{NAME}: its tokenizer could not be loaded; the weights could.")
    assert "put the tokenizer's files (tokenizer_config.json" in message
    assert "beside the checkpoint" in message


def test_without_transformers_the_error_says_what_to_install(siglip: ModelSpec) -> None:
    """The same model where the extra is not installed."""
    if find_spec("transformers"):
        pytest.skip("transformers is installed")
    with pytest.raises(ModelError, match=r"pip install 'clip-assets\[transformers\]'"):
        encoder.load(siglip, "cpu")
