"""Lists the members of a tar by reading its headers."""

import posixpath
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import IO

from clip_assets.source.kinds import POINTER, POINTER_BYTES, is_pointer
from clip_assets.source.ranged import Ranged

BLOCK = 512
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd


@dataclass(frozen=True)
class Member:
    """A file inside a tar: `size` bytes at `offset`; `data` has the bytes that were requested.

    `fault` says why it cannot be read. Without a name, it stands for the rest of the tar.
    """

    name: str
    offset: int = 0
    size: int = 0
    data: bytes | None = None
    fault: str | None = None


def members(
    file: IO[bytes] | Ranged, size: int, wanted: Callable[[str, int], int]
) -> Iterator[Member]:
    """Files and links in stored order, with their first `wanted(name, size)` bytes.

    Continues after the end of an archive, because `cat a.tar b.tar` makes one file of two. If the
    tar is truncated or damaged, the last member has no name. `size` is the tar's size in bytes.
    """
    known: dict[str, Member] = {}
    links: list[tuple[str, str]] = []
    start: int | None = 0
    head = file.read(POINTER_BYTES)
    if is_pointer(head):
        yield Member("", fault=POINTER)
        return
    if head.startswith(_PACKED):
        yield Member("", fault="compressed, which its name does not say; name it .tar.gz or so")
        return
    try:
        while start is not None:
            file.seek(start)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                yield from _walk(tar, size, wanted, known, links)
                start = _next_archive(file, tar.offset)
    except (tarfile.TarError, ValueError, IndexError) as error:
        yield from _linked(known, links)
        yield Member(
            "", fault=f"not a tar, or truncated or damaged ({error}); copy or create it again"
        )
        return
    yield from _linked(known, links)


def _walk(
    tar: tarfile.TarFile,
    size: int,
    wanted: Callable[[str, int], int],
    known: dict[str, Member],
    links: list[tuple[str, str]],
) -> Iterator[Member]:
    while (info := tar.next()) is not None:
        # Otherwise tarfile keeps every header, about 1 kB per member; typeshed hides the list.
        tar.members.clear()  # type: ignore[attr-defined]
        name = _plain(info.name)
        if info.isreg():
            cut = info.offset_data + info.size > size
            fault = "the tar ends before the image does" if cut else None
            if info.issparse():
                fault = "stored with holes, which cannot be read in place; pack it without --sparse"
            count = 0 if fault else wanted(name, info.size)
            content = tar.extractfile(info) if count else None
            data = content.read(count) if content else None
            known[name] = Member(name, info.offset_data, info.size, data, fault)
            yield known[name]
        elif info.islnk():
            links.append((name, _plain(info.linkname)))
        elif info.issym():
            links.append((name, _plain(posixpath.join(posixpath.dirname(name), info.linkname))))


def _linked(known: dict[str, Member], links: list[tuple[str, str]]) -> Iterator[Member]:
    """The links, once all files are known: a symbolic link may lead to a later one or to a link."""
    for name, target in links:
        if target in known:
            known[name] = replace(known[target], name=name)
    for name, target in links:
        if target in known:
            yield replace(known[target], name=name)
        else:
            yield Member(name, fault=f"a link to {target}, which is not in the tar")


def _next_archive(file: IO[bytes] | Ranged, end: int) -> int | None:
    """Where another archive begins after this one; None at the end of the file.

    tarfile treats a damaged or missing header as the end; only a block of zeros is one.
    """
    file.seek(end)
    if file.read(BLOCK) != bytes(BLOCK):
        raise tarfile.ReadError(f"neither a member nor the end at byte {end}")
    while block := file.read(BLOCK):
        end += BLOCK
        if block.strip(b"\0"):
            return end
    return None


def _plain(name: str) -> str:
    return posixpath.normpath(name)
