"""Lists the members of a tar by reading its headers."""

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import IO

from clip_assets.errors import SourceError
from clip_assets.source.ranged import Ranged

BLOCK = 512


@dataclass(frozen=True)
class Member:
    """A file inside a tar: `size` bytes from `offset`; `data` holds them if they were wanted."""

    name: str
    offset: int
    size: int
    data: bytes | None = None


def members(
    file: IO[bytes] | Ranged, where: str, wanted: Callable[[str, int], bool]
) -> Iterator[Member]:
    """Files and hard links in stored order, with their bytes if `wanted(name, size)`.

    Raises SourceError naming the tar if it is truncated or damaged.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            yield from _walk(tar, wanted)
            file.seek(tar.offset)
            # tarfile treats a damaged or missing header as the end; only a block of zeros is one.
            if file.read(BLOCK) != bytes(BLOCK):
                raise tarfile.ReadError(f"neither a member nor the end at byte {tar.offset}")
    except (tarfile.TarError, OSError, ValueError, IndexError) as error:
        raise SourceError(
            f"{where} is not a tar, or is truncated or damaged ({error}). Copy or create it again."
        ) from error


def _walk(tar: tarfile.TarFile, wanted: Callable[[str, int], bool]) -> Iterator[Member]:
    known: dict[str, Member] = {}
    while (info := tar.next()) is not None:
        # Otherwise tarfile keeps every header, about 1 kB per member; typeshed hides the list.
        tar.members.clear()  # type: ignore[attr-defined]
        if info.isreg():
            content = tar.extractfile(info) if wanted(info.name, info.size) else None
            data = content.read() if content else None
            known[info.name] = Member(info.name, info.offset_data, info.size, data)
            yield known[info.name]
        elif info.islnk() and info.linkname in known:
            yield replace(known[info.linkname], name=info.name)
