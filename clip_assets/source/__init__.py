"""Where images come from: a folder or bucket prefix, tar shards, a Hugging Face dataset."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field, TypeAdapter

from clip_assets.source.config import FolderConfig, HuggingFaceConfig, WebDatasetConfig

SourceConfig = Annotated[
    FolderConfig | WebDatasetConfig | HuggingFaceConfig, Field(discriminator="type")
]


def source_config(kind: str, uri: str) -> SourceConfig:
    """The `source:` block for images of this kind at this address.

    Raises pydantic's ValidationError.
    """
    place = "dataset" if kind == "huggingface" else "uri"
    adapter: TypeAdapter[SourceConfig] = TypeAdapter(SourceConfig)
    return adapter.validate_python({"type": kind, place: uri})


@dataclass(frozen=True)
class ImageRef:
    """Where one image's bytes are.

    `offset` and `size` (bytes) locate a member of a tar; `row` locates a row of a parquet file.
    If all three are None, the image is the whole object. `etag` changes when the content does.
    """

    image_id: str
    uri: str
    etag: str
    offset: int | None = None
    size: int | None = None
    row: int | None = None
    caption: str | None = None


class Source(Protocol):
    """One collection's images."""

    def list(self) -> Iterator[ImageRef]:
        """Every image in a stable order. Raises SourceError with a remedy."""
        ...

    def read(self, refs: Sequence[ImageRef]) -> Iterator[bytes | OSError]:
        """The bytes of each image in order, or the error that made it unreadable."""
        ...
