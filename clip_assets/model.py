"""How a model is requested (`ModelSpec`) and how it is identified (`ModelIdentity`)."""

import hashlib
import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Precision = Literal["fp32", "bf16", "fp16"]


class ModelSpec(BaseModel):
    """An open_clip model by name, with the weights to load into it.

    `name` is a name that open_clip accepts: an architecture (`ViT-B-32`), `hf-hub:org/repo`, or
    `local-dir:/path` of a folder with `open_clip_config.json` and a checkpoint. An architecture
    needs `pretrained`: a tag that open_clip knows (`laion2b_s34b_b79k`) or a checkpoint file.
    `untrained_seed` gives random weights, for testing the pipeline without any checkpoint; results
    are then meaningless, and every interface says so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    pretrained: str | None = None
    precision: Precision = "fp32"
    untrained_seed: int | None = None
    sha256: str | None = Field(None, description="refuse weights with a different hash")

    @model_validator(mode="after")
    def _has_one_origin_of_weights(self) -> Self:
        origins = [
            self.name.startswith(("hf-hub:", "local-dir:")) and self.untrained_seed is None,
            self.pretrained is not None,
            self.untrained_seed is not None,
        ]
        if sum(origins) != 1:
            raise ValueError(
                f"model {self.name}: weights must come from exactly one place. An architecture "
                "needs `pretrained` (an open_clip tag or a checkpoint file); a name that starts "
                "with hf-hub: or local-dir: needs nothing; `untrained_seed` is for tests only"
            )
        return self

    @property
    def title(self) -> str:
        """The name without its prefix and path."""
        return self.name.removeprefix("local-dir:").removeprefix("hf-hub:").rsplit("/", 1)[-1]

    @property
    def slug(self) -> str:
        """Folder-safe name made of the spec's name, weights and precision."""
        weights = self.pretrained and self.pretrained.rsplit("/", 1)[-1]
        if self.untrained_seed is not None:
            weights = f"untrained {self.untrained_seed}"
        words = [word for word in (self.title, weights, self.precision) if word]
        return "_".join(re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in words)


class ModelIdentity(BaseModel):
    """What a loaded model is, however it was requested.

    `weights` is the sha256 of all parameters and buffers as float32 (names, shapes, values), so
    it depends neither on the file format nor on the precision used for inference. `preprocess` is
    the sha256 of the image transform. Vectors are comparable only if their identities have the
    same `key`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    pretrained: str | None
    weights: str
    preprocess: str
    dim: int
    untrained: bool = False

    @property
    def key(self) -> str:
        """sha256 of everything that determines a vector's values."""
        return hashlib.sha256(f"{self.weights} {self.preprocess} {self.dim}".encode()).hexdigest()

    @property
    def short(self) -> str:
        """Name, tag and the first 12 digits of the weights' hash, for people."""
        tag = "untrained" if self.untrained else self.pretrained
        return f"{self.name}{f'/{tag}' if tag else ''}@{self.weights[:12]}"
