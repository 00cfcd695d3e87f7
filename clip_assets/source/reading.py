"""What a source needs to read one object: its path, and the reason if that fails."""

import errno
from typing import Protocol

from clip_assets.errors import ObjectRefusedError, SourceError, UnansweredError
from clip_assets.source import DamagedError, ImageRef
from clip_assets.source.ordered import Late
from clip_assets.source.tree import Tree

# Protects memory; far above what the decoder accepts. A stray 40 GB file among the images must
# become a reject instead of exhausting the machine.
LARGEST = 256 << 20


class Rooted(Protocol):
    """Names its files by absolute URIs."""

    def uri(self, path: str) -> str: ...


def path_below(files: Rooted, uri: str) -> str:
    """The path for which `files.uri` returned `uri`."""
    root = files.uri("x")[:-1]
    if not uri.startswith(root):
        raise SourceError(
            f"{uri} is not below {root}, the collection's source. Materialize the catalog again."
        )
    return uri[len(root) :]


def readable(objects: Tree, error: OSError) -> OSError:
    """The error reduced to a short reason for a reject.

    Raises SourceError if the whole folder is gone, and UnansweredError if the store does not answer
    at all, because then no single image is at fault.
    """
    if isinstance(error, UnansweredError):
        if not objects.answers():
            raise error
        return TimeoutError("the store does not send it")
    if objects.folder and not objects.folder.is_dir():
        raise SourceError(
            f"{objects.root} is gone. Mount or restore it, then run again."
        ) from error
    if isinstance(error, DamagedError):
        return error
    if error.errno == errno.EFBIG:
        return DamagedError(error.strerror)
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError("no such file")
    if isinstance(error, ObjectRefusedError):
        return PermissionError(str(error).rpartition(": ")[2])
    return OSError(error.strerror.lower() if error.strerror else str(error))


def late(seconds: float) -> Late[ImageRef, bytes | OSError]:
    """The error of an image that is still being read at the deadline."""
    error = TimeoutError(f"reading it has not ended after {seconds:g} s")
    return Late(seconds, lambda _: error)
