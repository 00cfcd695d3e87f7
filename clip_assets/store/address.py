"""Addresses of stores: which are remote, and which folder a local one names."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from clip_assets.home import expanded


def is_remote(uri: str) -> bool:
    return "://" in uri and not uri.startswith("file://")


def local_path(uri: str) -> Path:
    """The folder that a `file://` URI or a plain path names."""
    return expanded(unquote(urlsplit(uri).path) if uri.startswith("file://") else uri)
