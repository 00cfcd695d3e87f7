"""An open_clip model that encodes images and texts as unit vectors, with its identity."""

import copy
import hashlib
import json
import warnings
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.tokenizer import HFTokenizer
from open_clip.transform import PreprocessCfg
from PIL.Image import Image
from torch import Tensor

from clip_assets.errors import ModelError
from clip_assets.model import DECODE_VERSION, ModelIdentity, ModelSpec
from clip_assets.node import text_tower
from clip_assets.node.decode import Pixels
from clip_assets.node.transform import Transform

_TOKENIZER = "tokenizer_config.json"
_TORCH_DTYPE = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_BATCH_ON_CPU, _BATCH_ON_GPU = 32, 512


class Encoder:
    """A loaded model. Several threads may run inference at once.

    Its images are encoded on each of `devices`, its texts on the first.
    """

    def __init__(self, spec: ModelSpec, model: Any, *devices: str) -> None:
        self.device = devices[0]
        self.identity = _identity(spec, model)
        self.dim = self.identity.dim
        # Convolutions are faster on interleaved channels, which is how images are decoded.
        self._model = (
            _at_precision(spec, model)
            .to(self.device, memory_format=torch.channels_last)
            .eval()
            .requires_grad_(False)
        )
        if self.device == "cpu":
            text_tower.lay_out_for_one(self._model)
        self._dtype = _TORCH_DTYPE[spec.precision]
        self._tokenize = _tokenizer(spec)
        config = PreprocessCfg(**model.visual.preprocess_cfg)
        self.transform = Transform(config)
        self._replicas = [
            _Replica(
                self._model if device == self.device else copy.deepcopy(self._model).to(device),
                Normalise(config, device),
                device,
            )
            for device in devices
        ]
        self._most = self.batch_size = _BATCH_ON_GPU if self.gpus else _BATCH_ON_CPU

    @property
    def enough(self) -> int:
        """The short side, in pixels, that `encode_images` needs of a photo."""
        return self.transform.enough

    @property
    def gpus(self) -> int:
        """How many GPUs encode images; 0 on a CPU."""
        return sum(replica.device.startswith("cuda") for replica in self._replicas)

    @property
    def device_name(self) -> str:
        if not self.device.startswith("cuda"):
            return self.device
        several = f"{self.gpus}x " if self.gpus > 1 else ""
        return f"{several}{torch.cuda.get_device_name()}"

    def encode_pixels(self, images: Sequence[Pixels], gpu: int = 0) -> NDArray[np.float32]:
        """Unit vectors float32[n, dim] of `n` transformed images, each uint8[h, w, 3].

        A batch that does not fit in the memory of the device is halved until it does, and so are
        all later ones. Raises ModelError if not even one image fits.
        """
        most = min(self._most, len(images))
        if not most:
            raise ModelError(
                f"{self.identity.short} does not fit in the memory of {self.device_name}. Use a "
                "device with more memory, or `precision: bf16`."
            )
        try:
            return np.concatenate(
                [
                    self._encode_batch(images[start : start + most], self._replicas[gpu])
                    for start in range(0, len(images), most)
                ]
            )
        except torch.OutOfMemoryError:
            self._most = min(self._most, most // 2)
        torch.cuda.empty_cache()  # after the block, whose traceback holds the batch's tensors
        return self.encode_pixels(images, gpu)

    def _encode_batch(self, images: Sequence[Pixels], replica: "_Replica") -> NDArray[np.float32]:
        # From pinned memory, the copy to the device does not block this thread.
        pinned = replica.device.startswith("cuda")
        batch = torch.empty((len(images), *images[0].shape), dtype=torch.uint8, pin_memory=pinned)
        np.stack(list(images), out=batch.numpy())
        batch = batch.to(replica.device, non_blocking=True)
        with torch.inference_mode():
            normalised = replica.normalise(batch).to(self._dtype)
            return _unit(replica.model.encode_image(normalised))

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Unit vectors float32[n, dim] of `n` RGB images."""
        return self.encode_pixels([self.transform(np.array(image)) for image in images])

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors float32[n, dim] of `n` texts; a text beyond the context is truncated."""
        tokens = self._tokenize(list(texts)).to(self.device)
        with torch.inference_mode():
            return _unit(text_tower.encode_text(self._model, tokens))

    def within_context(self, text: str) -> str:
        """The beginning of the text that fits the model's context; all of it if it fits."""
        if self._fits(text):
            return text
        over = bisect_left(range(len(text)), True, key=lambda n: not self._fits(text[:n]))
        return text[: over - 1].rstrip()

    def _fits(self, text: str) -> bool:
        size = self._tokenize.context_length
        most = (
            len(text.encode()) + 2
        )  # a token is at least one byte; a start and an end token are added
        if most <= size:
            return True
        whole = self._tokenize([text], context_length=most)
        return bool(torch.equal(whole[:, :size], self._tokenize([text])))


class Normalise:
    """uint8[n, h, w, 3] to float32[n, 3, h, w]: (value / 255 - mean) / deviation."""

    def __init__(self, config: PreprocessCfg, device: str) -> None:
        mean, deviation = (
            torch.tensor(value if isinstance(value, tuple | list) else [value] * 3, device=device)
            for value in (config.mean, config.std)
        )
        self._scale, self._shift = 1 / (255 * deviation), -mean / deviation

    def __call__(self, batch: Tensor) -> Tensor:
        count, height, width, _ = batch.shape
        # Row by row, because torch is many times slower along an axis of three.
        rows = batch.reshape(count, height, -1).float()
        rows.mul_(self._scale.repeat(width)).add_(self._shift.repeat(width))
        return rows.view(batch.shape).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class _Replica:
    """The model on one device."""

    model: Any
    normalise: Normalise
    device: str


def every_gpu() -> tuple[str, ...]:
    """All GPUs of this machine, or its CPU if it has none."""
    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count())) or ("cpu",)


def load(spec: ModelSpec, *devices: str) -> Encoder:
    """Load `spec` on `devices` (default: CUDA if available, else CPU).

    Raises ModelError if the name is unknown, or the weights are unavailable, do not fit or do not
    match `spec.sha256`. Never falls back to other weights.
    """
    encoder = Encoder(spec, _load_float32(spec), *(devices or every_gpu()[:1]))
    if spec.sha256 and spec.sha256 != encoder.identity.weights:
        raise ModelError(
            f"{spec.name}: the weights have sha256 {encoder.identity.weights}, not {spec.sha256}. "
            "Use the right checkpoint, or change `sha256` if the new weights are intended."
        )
    return encoder


def _load_float32(spec: ModelSpec) -> Any:
    _check_name(spec)
    untrained = spec.untrained_seed is not None
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="QuickGELU mismatch")
            torch.manual_seed(spec.untrained_seed or 0)
            return open_clip.create_model(
                spec.name,
                pretrained=spec.pretrained,
                load_weights=not untrained,
                pretrained_text=not untrained,
                require_pretrained=not untrained,
            )
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise _explained(spec, error) from error


def _tokenizer(spec: ModelSpec) -> Any:
    try:
        return _tokenizer_beside(spec) or open_clip.get_tokenizer(spec.name)
    except (ImportError, NameError, AssertionError) as error:
        raise ModelError(
            f"{spec.name} needs a tokenizer from the transformers package, which is not installed. "
            "Install it with: pip install 'clip-assets[transformers]'"
        ) from error
    except (RuntimeError, OSError, ValueError) as error:
        raise ModelError(
            f"{spec.name}: its tokenizer could not be loaded; the weights could. Check that the "
            "hub is reachable (HF_HOME, HF_TOKEN, a proxy), or put the tokenizer's files "
            f"({_TOKENIZER} and the others in its folder on the hub) beside the checkpoint. "
            f"({str(error).strip().splitlines()[0][:300]})"
        ) from error


def _tokenizer_beside(spec: ModelSpec) -> Any:
    """The tokenizer whose files are beside a checkpoint file, because open_clip looks for them only
    on the hub. None if there are none, or if the architecture uses open_clip's own tokenizer."""
    folder = Path(spec.pretrained).parent if spec.pretrained else None
    text = (open_clip.get_model_config(spec.name) or {}).get("text_cfg", {}) if folder else {}
    if folder is None or "hf_tokenizer_name" not in text or not (folder / _TOKENIZER).is_file():
        return None
    return HFTokenizer(
        str(folder),
        context_length=text.get("context_length"),
        tokenizer_mode=text.get("tokenizer_mode"),
        **text.get("tokenizer_kwargs", {}),
    )


def _require_preprocessing(config: Path) -> None:
    """Raises ModelError if the export lacks its preprocessing, because open_clip would silently use
    the mean and deviation of its own models."""
    try:
        found = json.loads(config.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{config} cannot be read ({error}). Export the model again.") from error
    if "preprocess_cfg" not in found:
        raise ModelError(
            f"{config} has no `preprocess_cfg`, so nothing says how images are scaled for this "
            "model. Add it with the model's mean, std and interpolation, or as {} for open_clip's "
            "defaults."
        )


def _check_name(spec: ModelSpec) -> None:
    if spec.name.startswith("local-dir:"):
        folder = Path(spec.name.removeprefix("local-dir:"))
        if not (folder / "open_clip_config.json").is_file():
            raise ModelError(
                f"{folder} has no open_clip_config.json. Give a folder with that file and a "
                "checkpoint, as open_clip exports them."
            )
        _require_preprocessing(folder / "open_clip_config.json")
        return
    if spec.name.startswith("hf-hub:"):
        return
    if spec.name not in open_clip.list_models():
        near = get_close_matches(spec.name, open_clip.list_models(), n=3, cutoff=0.4)
        raise ModelError(
            f"open_clip has no model named {spec.name}. "
            f"Did you mean {', '.join(near) or 'hf-hub:org/repo or local-dir:/path'}?"
        )
    tags = open_clip.list_pretrained_tags_by_model(spec.name)
    if spec.pretrained and spec.pretrained not in tags and not Path(spec.pretrained).is_file():
        raise ModelError(
            f"{spec.name} has no weights named {spec.pretrained}, and no such file exists. "
            f"open_clip has: {', '.join(tags) or 'none; give a checkpoint file'}."
        )


def _explained(spec: ModelSpec, error: Exception) -> ModelError:
    text = str(error).strip().split("\n")[0][:300]
    if "state_dict" in text or "size mismatch" in str(error):
        return ModelError(
            f"The checkpoint {spec.pretrained or spec.name} does not fit {spec.name}: the names or "
            "shapes of its layers differ. Give the architecture it was trained with."
        )
    return ModelError(
        f"{spec.name}: the weights ({spec.pretrained or 'of that name'}) could not be loaded. "
        "Check that the hub is reachable (HF_HOME, HF_TOKEN, a proxy), or give a local "
        f"checkpoint as `pretrained: /path/file.safetensors`. ({text})"
    )


def _at_precision(spec: ModelSpec, model: Any) -> Any:
    """The same weights in a model that open_clip builds for this precision."""
    if spec.precision == "fp32":
        return model
    lower = open_clip.create_model(
        spec.name, load_weights=False, pretrained_text=False, precision=spec.precision
    )
    lower.load_state_dict(model.state_dict())
    return lower


def _identity(spec: ModelSpec, model: Any) -> ModelIdentity:
    weights = hashlib.sha256()
    state = model.state_dict()
    for name in sorted(state):
        tensor = state[name].detach().to("cpu", torch.float32).contiguous()
        weights.update(f"{name} {tuple(tensor.shape)}\n".encode())
        weights.update(tensor.numpy().data)
    transform = {"decode": DECODE_VERSION, **model.visual.preprocess_cfg}
    preprocess = hashlib.sha256(json.dumps(transform, sort_keys=True).encode()).hexdigest()
    pretrained = spec.pretrained and spec.pretrained.rsplit("/", 1)[-1]
    return ModelIdentity(
        name=spec.title,
        pretrained=pretrained,
        weights=weights.hexdigest(),
        preprocess=preprocess,
        dim=_dim(model),
        untrained=spec.untrained_seed is not None,
        decode=DECODE_VERSION,
    )


def _dim(model: Any) -> int:
    size = model.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    with torch.inference_mode():
        return int(model.eval().encode_image(torch.zeros(1, 3, height, width)).shape[-1])


def _unit(features: Tensor) -> NDArray[np.float32]:
    unit = torch.nn.functional.normalize(features.float(), dim=-1)
    return np.ascontiguousarray(unit.cpu().numpy())
