"""Reads many objects in parallel and returns them in order."""

import errno
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from clip_assets.errors import ObjectRefusedError, SourceError
from clip_assets.source import DamagedError
from clip_assets.store.objects import Objects

# Protects memory; far above what the decoder accepts. A stray 40 GB file among the images must
# become a reject instead of exhausting the machine.
LARGEST = 256 << 20

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int = 16, ahead: int = 32
) -> Iterator[Result]:
    """Results of `work` in the order of `items`, computed by threads at most `ahead` items early.

    An exception is raised at its item's position. Closing the iterator cancels work that has not
    started.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="source") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


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


def readable(objects: Objects, error: OSError) -> OSError:
    """The error reduced to a short reason for a reject.

    Raises SourceError instead if the whole folder is gone: then no single image is at fault.
    """
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
