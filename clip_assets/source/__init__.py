"""Where images come from: a folder or bucket prefix, tar shards, a Hugging Face dataset."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

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

    `offset` and `size` (bytes) locate a member of a tar; `row` locates a row of a parquet file, and
    `offset` then the image in a row that has a list of them.
    If all three are None, the image is the whole object. `etag` changes when the content does.

    `fault` says why the image cannot be used, if the listing already shows it; it is never read.
    If `image_id` then ends with a slash, everything below that name could not be listed.

    `columns` is a JSON object with the known values of the declared columns that come from
    metadata; `fields` is the metadata that they are taken from, which is not stored.
    """

    image_id: str
    uri: str
    etag: str
    offset: int | None = None
    size: int | None = None
    row: int | None = None
    caption: str | None = None
    fault: str | None = None
    columns: str | None = None
    fields: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def below(self) -> str | None:
        """The prefix of the ids that could not be listed, if this stands for several images."""
        return self.image_id if self.fault and self.image_id.endswith("/") else None


class DamagedError(OSError):
    """The bytes of an image can be read but not used; reading them again does not help."""


class Source(Protocol):
    """One collection's images.

    `skipped` counts the files that the last listing deliberately skipped, by kind.
    """

    @property
    def skipped(self) -> Counter[str]: ...

    def list(self) -> Iterator[ImageRef]:
        """Every image in a stable order. Raises SourceError with a remedy."""
        ...

    def read(self, refs: Sequence[ImageRef]) -> Iterator[bytes | OSError]:
        """The bytes of each image in order, or the error that made it unreadable.

        A DamagedError is final; after any other error, the next read may succeed.
        """
        ...
