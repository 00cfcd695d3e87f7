"""Opens the source that a collection's `source:` block describes."""

from functools import partial

from clip_assets.errors import SourceError, StoreError
from clip_assets.source import SourceConfig
from clip_assets.source.checked import Checked
from clip_assets.source.config import (
    NOTHING,
    FolderConfig,
    HuggingFaceConfig,
    Knowledge,
    TableConfig,
    WebDatasetConfig,
)
from clip_assets.source.folder import Folder
from clip_assets.source.huggingface import HuggingFace
from clip_assets.source.joins import JoinedSource
from clip_assets.source.table import LARGEST, Table
from clip_assets.source.tree import deadline, open_tree
from clip_assets.source.webdataset import WebDataset
from clip_assets.store.address import is_remote


def open_source(config: SourceConfig, knowledge: Knowledge = NOTHING) -> Checked:
    """The source that `config` describes, with captions and columns as declared.

    Raises SourceError or StoreError, each with a remedy, if it is missing or unreachable; a
    bucket is contacted only when it is listed or read.
    """
    named = config.dataset if isinstance(config, HuggingFaceConfig) else config.uri
    within = deadline(named, config.deadline_seconds)
    source, where = within.call(lambda: _opened(config, knowledge), named)
    if knowledge == NOTHING:
        return Checked(source, where)
    open_table = partial(_table, source, config.deadline_seconds)
    return Checked(JoinedSource(source, knowledge, open_table), where)


def _opened(
    config: SourceConfig, knowledge: Knowledge
) -> tuple[Folder | WebDataset | HuggingFace, str]:
    if isinstance(config, FolderConfig):
        only = f" ({', '.join(config.extensions)})" if config.extensions else ""
        return Folder(config, knowledge), f"{config.uri}{only}"
    if isinstance(config, WebDatasetConfig):
        return WebDataset(config, knowledge), config.uri
    where = f"{config.dataset} ({config.config}, {config.split})"
    return HuggingFace(config, knowledge), where


def _table(
    source: Folder | WebDataset | HuggingFace, seconds: float, config: TableConfig
) -> tuple[Table, str]:
    """A table, by its path below the source or its address, and the folder for relative names."""
    address = config.origin.removeprefix("./")
    try:
        if is_remote(address) or address.startswith(("/", "~")):
            data = deadline(address, seconds).call(partial(_elsewhere, address), address)
            return Table(address, data, config.image), ""
        data = source.beside(address)
    except StoreError:
        raise
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)  # whose text may be a store's whole answer
        reason = "no such file" if missing else error.strerror or error
        raise SourceError(
            f"{config.origin} cannot be read ({reason}). A path is looked for below the source; "
            "correct `from` in the collection's YAML, or put the file there."
        ) from error
    folder, slash, _ = address.rpartition("/")
    return Table(address, data, config.image), folder + slash


def _elsewhere(address: str) -> bytes:
    root, _, name = address.rpartition("/")
    return open_tree(root or "/").get(name, limit=LARGEST)
