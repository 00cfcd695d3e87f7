"""The `source:` block of a collection's YAML."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FolderConfig(_Config):
    """Image files below a folder or a bucket prefix (`s3://`, `gs://`, `az://`)."""

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


class WebDatasetConfig(_Config):
    """Tar files in the WebDataset layout; captions from the .txt or .json beside each image."""

    type: Literal["webdataset"]
    uri: str


class HuggingFaceConfig(_Config):
    """A dataset on the Hugging Face hub, or a local folder with the same file layout."""

    type: Literal["huggingface"]
    dataset: str = Field(description="hub id such as org/name, or a local folder")
    revision: str = "main"
    config: str = "default"
    split: str = "train"
    image_column: str = "image"
    caption_column: str | None = None
    id_column: str | None = None
