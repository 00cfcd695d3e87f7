"""How a model is requested (`ModelSpec`) and how it is identified (`ModelIdentity`)."""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clip_assets.errors import ClipAssetsError, ModelError

Precision = Literal["fp32", "bf16", "fp16"]

DECODE_VERSION = 4
"""Increased when `node.decode` or `node.transform` changes the pixels a model sees for the same
bytes."""


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

    `weights` is the sha256 of all parameters and buffers as float32 (names, shapes, values), so it
    depends on neither the file format nor the precision of the computation.
    `preprocess` is the sha256 of the image transform and of `decode`, the version of the code that
    turns a file into pixels; identities written before it was recorded have None. Vectors of images
    may be compared only if their identities have the same `key`; a text's vector may be compared
    with them if the identities have the same `text_key`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    pretrained: str | None
    weights: str
    preprocess: str
    dim: int
    untrained: bool = False
    decode: int | None = None

    @property
    def key(self) -> str:
        """sha256 of everything that determines a vector's values."""
        return hashlib.sha256(f"{self.weights} {self.preprocess} {self.dim}".encode()).hexdigest()

    @property
    def text_key(self) -> str:
        """sha256 of everything that determines a text's vector."""
        return hashlib.sha256(f"{self.weights} {self.dim}".encode()).hexdigest()

    @property
    def label(self) -> str:
        """Name and tag."""
        tag = "untrained" if self.untrained else self.pretrained
        return f"{self.name}{f'/{tag}' if tag else ''}"

    @property
    def short(self) -> str:
        """Name, tag and the first 12 digits of the weights' hash, for people."""
        return f"{self.label}@{self.weights[:12]}"


def require_same_texts(
    found: ModelIdentity,
    expected: ModelIdentity,
    claim: str,
    otherwise: str,
    error: type[ClipAssetsError] = ModelError,
) -> None:
    """Like `require_same`, but raises only if a text's vector by `found` may not be compared with
    images' vectors by `expected`. Image decoding does not matter for this."""
    if found.text_key != expected.text_key:
        require_same(found, expected, claim, otherwise, error)


def require_same(
    found: ModelIdentity,
    expected: ModelIdentity,
    claim: str,
    otherwise: str,
    error: type[ClipAssetsError] = ModelError,
) -> None:
    """Raise `error` unless vectors of the two models may be compared.

    The message is `claim` ("The loaded model differs from that of release 3"), each part that
    differs with its two values, the remedy for these parts, and `otherwise` (", or release an
    index of the new model").
    """
    if found.key == expected.key:
        return
    differences = _differences(found, expected)
    parts = " and ".join(str(difference) for difference in differences)
    # If the names differ, different weights and preprocessing follow from that.
    causes = differences[:1] if differences[0].part == "name" else differences
    remedies = " and ".join(difference.remedy for difference in causes)
    raise error(
        f"{claim} ({expected.label}) in its {parts}. "
        f"{remedies[0].upper()}{remedies[1:]}{otherwise}."
    )


@dataclass(frozen=True)
class _Difference:
    """A part in which two models differ, its value in each, and how to make them the same."""

    part: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.part} ({self.found} instead of {self.expected})"


def _differences(found: ModelIdentity, expected: ModelIdentity) -> list[_Difference]:
    parts = [
        _Difference("name", found.label, expected.label, f"use {expected.label}"),
        _weights(found, expected),
        _preprocessing(found, expected),
    ]
    return [part for part in parts if part.found != part.expected]


def _weights(found: ModelIdentity, expected: ModelIdentity) -> _Difference:
    """The difference in weights, with full hashes, because the user may pin one."""
    ours, theirs = f"sha256 {found.weights}", f"sha256 {expected.weights}"
    if found.dim != expected.dim:
        ours, theirs = f"{ours}, {found.dim} dimensions", f"{theirs}, {expected.dim}"
    return _Difference(
        "weights",
        ours,
        theirs,
        "restore the checkpoint with the weights you mean and pin it with `sha256` in the model "
        "block",
    )


def _preprocessing(found: ModelIdentity, expected: ModelIdentity) -> _Difference:
    """The difference in decode versions if there is one, or else in the preprocessing hash."""
    if None not in (found.decode, expected.decode) and found.decode != expected.decode:
        return _Difference(
            "decode version",
            str(found.decode),
            str(expected.decode),
            f"use the version of clip_assets with decode version {expected.decode}",
        )
    return _Difference(
        "preprocessing",
        f"sha256 {found.preprocess[:12]}",
        f"sha256 {expected.preprocess[:12]}",
        "restore the `preprocess_cfg` you mean, from its open_clip_config.json or the version of "
        "open_clip",
    )
