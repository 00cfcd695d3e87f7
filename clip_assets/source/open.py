"""Opens the source that a collection's `source:` block describes."""

from clip_assets.source import Source, SourceConfig
from clip_assets.source.checked import Checked
from clip_assets.source.config import FolderConfig, WebDatasetConfig
from clip_assets.source.folder import Folder
from clip_assets.source.huggingface import HuggingFace
from clip_assets.source.webdataset import WebDataset


def open_source(config: SourceConfig) -> Source:
    """The source that `config` describes.

    Raises SourceError or StoreError, each with a remedy, if it is missing or unreachable; a
    bucket is contacted only when it is listed or read.
    """
    if isinstance(config, FolderConfig):
        only = f" ({', '.join(config.extensions)})" if config.extensions else ""
        return Checked(Folder(config), f"{config.uri}{only}")
    if isinstance(config, WebDatasetConfig):
        return Checked(WebDataset(config), config.uri)
    return Checked(HuggingFace(config), f"{config.dataset} ({config.config}, {config.split})")
