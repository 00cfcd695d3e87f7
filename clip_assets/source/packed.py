"""Compressed tars, unpacked once for each version into the cache of this machine."""

import bz2
import gzip
import hashlib
import lzma
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from clip_assets.settings import Settings
from clip_assets.source.deadline import Deadline
from clip_assets.source.tree import Tree
from clip_assets.store.entry import Entry

_SUFFIX = re.compile(r"\.(?:tar\.(gz|bz2|xz|zst)|(tgz|tbz2|txz))$", re.IGNORECASE)
_PLAIN = re.compile(r"\.tar$", re.IGNORECASE)
_SHORT = {"tgz": "gz", "tbz2": "bz2", "txz": "xz"}


def compressed(path: str) -> bool:
    """Whether the name is of a compressed tar that can be unpacked."""
    return bool(_SUFFIX.search(path))


def is_tar(path: str) -> bool:
    """Whether the name is of a tar, plain or compressed."""
    return bool(_PLAIN.search(path)) or compressed(path)


def without_suffix(path: str) -> str:
    """The path without `.tar` and what follows it."""
    return _PLAIN.sub("", _SUFFIX.sub("", path))


def unpacked(objects: Tree, tar: Entry, within: Deadline) -> Path:
    """The plain tar, made now unless it is in the cache. Raises OSError if it is damaged.

    Members can then be read one by one, at the cost of disk space. Raises SourceError if it does
    not arrive in time.
    """
    identity = "\n".join([objects.root, tar.path, str(tar.size), tar.etag])
    folder = Settings().workplace / "cache" / "unpacked"
    plain = folder / f"{hashlib.sha256(identity.encode(errors='surrogateescape')).hexdigest()}.tar"
    if plain.exists():
        return plain
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder)
    try:
        with (
            objects.on_disk(tar.path) as source,
            os.fdopen(handle, "wb") as target,
        ):
            chunks = within.each(
                _chunks(_opener(tar.path), source), lambda: objects.uri(tar.path), step=1
            )
            target.writelines(chunks)
        Path(name).replace(plain)
    except (EOFError, lzma.LZMAError, pa.ArrowException) as error:
        raise OSError(f"damaged: {error}") from error
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()
    return plain


def _chunks(opener: "Callable[[Path], IO[bytes] | Any]", packed: Path) -> Iterator[bytes]:
    with opener(packed) as stream:
        while chunk := stream.read(1 << 20):
            yield chunk


def _opener(path: str) -> Callable[[Path], "IO[bytes] | Any"]:
    found = _SUFFIX.search(path)
    assert found, "only for compressed tars"
    kind = (found[1] or found[2]).lower()
    openers: dict[str, Callable[[Path], IO[bytes] | Any]] = {
        "gz": partial(gzip.open, mode="rb"),
        "bz2": partial(bz2.open, mode="rb"),
        "xz": partial(lzma.open, mode="rb"),
        "zst": lambda file: pa.CompressedInputStream(pa.OSFile(str(file)), "zstd"),
    }
    return openers[_SHORT.get(kind, kind)]
