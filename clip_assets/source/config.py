"""The `source:` block of a collection's YAML."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from clip_assets.column import Column, Originated
from clip_assets.source.deadline import SECONDS

METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet")
"""Names of tables that are read if they are beside the images."""


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _SourceConfig(_Config):
    deadline_seconds: float = Field(
        SECONDS,
        gt=0,
        description="how long one image, or one step of a listing, is waited for; the Hugging "
        "Face hub's client has deadlines of its own",
    )


class FolderConfig(_SourceConfig):
    """Image files below a folder, a bucket prefix (`s3://`, `gs://`, `az://`), or a folder of a
    dataset on the Hugging Face hub (`hf://datasets/org/name/folder`)."""

    type: Literal["folder"] = "folder"
    uri: str
    extensions: list[str] | None = Field(
        None,
        description="only files with these extensions; by default all images, told by extension "
        "or, where that does not tell, by their first bytes",
    )
    follow_links: bool = Field(
        False,
        description="also list folders behind symbolic links, outside the root too; each folder "
        "once, so loops do no harm",
    )


class WebDatasetConfig(_SourceConfig):
    """Tar files in the WebDataset layout; captions from the .txt or .json beside each image."""

    type: Literal["webdataset"]
    uri: str


class HuggingFaceConfig(_SourceConfig):
    """A dataset on the Hugging Face hub, or a local folder with the same file layout."""

    type: Literal["huggingface"]
    dataset: str = Field(description="hub id such as org/name, or a local folder")
    revision: str = "main"
    config: str = "default"
    split: str = "train"
    files: list[str] | None = Field(
        None,
        description="these parquet files, as patterns such as data/extra-*.parquet, instead "
        "of those of the configuration and split",
    )
    image_column: str = "image"
    caption_column: str | None = None
    id_column: str | None = None


class TableConfig(Originated):
    """The table for `metadata.FIELD`, if it is not metadata.csv, .jsonl or .parquet."""

    origin: str = Field(alias="from", description="its path below the source, or its address")
    image: str | None = Field(
        None, description="the field with the image's name; by default file_name, image, id …"
    )

    @property
    def field(self) -> str:
        """The field of the metadata that is meant; empty if it is a table, such as metadata.csv."""
        start, dot, field = self.origin.partition(".")
        return field if start == "metadata" and dot and self.origin not in METADATA else ""


class CaptionsConfig(TableConfig):
    """A table with one or several captions for each image, or `metadata.FIELD`."""

    text: str | None = Field(
        None, description="the field with the caption; by default caption, text …"
    )


class Knowledge(_Config):
    """A collection's declarations about its images: columns, captions and tables."""

    columns: dict[str, Column] = {}
    captions: CaptionsConfig | None = None
    metadata: TableConfig | None = None

    @property
    def fields(self) -> frozenset[str]:
        """The fields of metadata that are needed."""
        origins = [column.origin for column in self.columns.values()]
        if self.captions and self.captions.field:
            origins.append(self.captions.origin)
        return frozenset(
            origin.removeprefix("metadata.") for origin in origins if origin.startswith("metadata.")
        )

    @property
    def tables(self) -> frozenset[str]:
        """The tables that are named."""
        named = (self.captions, self.metadata)
        return frozenset(one.origin.removeprefix("./") for one in named if one and not one.field)


NOTHING = Knowledge()
