"""The files below a root: which a source examines, and which it skips."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from clip_assets.errors import SourceError, StoreError
from clip_assets.source.deadline import Deadline
from clip_assets.source.kinds import hidden
from clip_assets.source.tree import Tree
from clip_assets.store.entry import Entry, local_entry

HIDDEN = "hidden or system files and folders"
LINKED = "links to folders"


def refuse_missing(objects: Tree) -> None:
    """Raises SourceError if a local root is not a folder."""
    if objects.folder and not objects.folder.is_dir():
        raise SourceError(
            f"{objects.root} is not a folder on this machine. Check the path in the collection's "
            "YAML; a relative path is resolved from the directory the command runs in."
        )


def entries(
    objects: Tree, skipped: Counter[str], within: Deadline, *, follow_links: bool = False
) -> Iterator[Entry]:
    """Every file that is not hidden, in no particular order; `skipped` counts the others.

    An unreadable file has a fault; a folder that cannot be listed is an entry whose path ends with
    a slash. With `follow_links`, folders behind symbolic links are listed, too, each once.
    Raises SourceError if nothing at all can be listed, or something gives no answer in time.
    """
    try:
        if objects.folder:
            walk = _Walk(objects.folder, skipped)
            found = _walked(walk, skipped, follow_links=follow_links)
            yield from within.each(found, lambda: str(walk.at))
        else:
            yield from within.each(_visible(objects, skipped), lambda: objects.root)
    except StoreError:
        raise
    except OSError as error:
        raise SourceError(
            f"Cannot list {objects.root} ({error}). Make it readable for this user."
        ) from error


def _visible(objects: Tree, skipped: Counter[str]) -> Iterator[Entry]:
    folders: set[str] = set()
    for entry in objects.list():
        names = entry.path.split("/")
        depth = next((n for n, name in enumerate(names) if name not in _DOTS and hidden(name)), -1)
        if depth < 0:
            yield entry
            continue
        top = "/".join(names[: depth + 1])
        skipped[HIDDEN] += top not in folders
        if depth < len(names) - 1:
            folders.add(top)


_DOTS = (".", "..")


class _Walk:
    """The folders still to be listed, links to folders last.

    So a file gets the name in its own folder, and links to that folder add nothing.
    """

    def __init__(self, root: Path, skipped: Counter[str]) -> None:
        self._folders: list[tuple[Path, str]] = [(root, "")]
        self._links: list[tuple[Path, str]] = []
        self._seen: set[tuple[int, int]] = set()
        self._skipped = skipped
        self.at = root

    def add(self, child: "os.DirEntry[str]", below: str, *, link: bool) -> None:
        chosen = self._links if link else self._folders
        chosen.append((Path(child.path), f"{below}{child.name}/"))

    def __iter__(self) -> Iterator[tuple[str, list["os.DirEntry[str]"] | OSError]]:
        """Each folder's path below the root, with its children or why it cannot be listed.

        `at` is then the current folder.
        """
        while self._folders or self._links:
            self.at, below = (self._folders or self._links).pop()
            found: list[os.DirEntry[str]] | OSError
            try:
                found = self._children(self.at)
            except OSError as error:
                if not below:
                    raise
                found = error
            yield below, found

    def _children(self, folder: Path) -> list["os.DirEntry[str]"]:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in self._seen:
            self._skipped["links to folders that are listed already"] += 1
            return []
        self._seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as found:
            return list(found)


def _walked(walk: _Walk, skipped: Counter[str], *, follow_links: bool) -> Iterator[Entry | None]:
    """The files; None for each folder, which may have none."""
    for below, children in walk:
        yield None
        if isinstance(children, OSError):
            # Otherwise it was removed since its parent was listed.
            if not isinstance(children, FileNotFoundError):
                reason = (children.strerror or str(children)).lower()
                yield Entry(below, 0, "", f"the folder cannot be listed ({reason})")
            continue
        for child in children:
            if hidden(child.name):
                skipped[HIDDEN] += 1
            elif child.is_dir(follow_symlinks=False):
                walk.add(child, below, link=False)
            elif not _leads_to_folder(child):
                yield from _entry(child, below)
            elif follow_links:
                walk.add(child, below, link=True)
            else:
                skipped[f"{LINKED} (set `follow_links: true` to list them)"] += 1


def _leads_to_folder(child: "os.DirEntry[str]") -> bool:
    try:
        return child.is_dir()
    except OSError:  # a link to itself
        return False


def _entry(child: "os.DirEntry[str]", below: str) -> Iterator[Entry]:
    """None if the file no longer exists. A dangling link is listed, so that reading it fails."""
    path = below + child.name
    try:
        status = child.stat()
    except FileNotFoundError:
        with suppress(FileNotFoundError):
            yield local_entry(path, child.stat(follow_symlinks=False))
        return
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        yield Entry(path, 0, "", f"it cannot be read ({reason})")
        return
    if stat.S_ISREG(status.st_mode):
        yield local_entry(path, status)
    else:
        yield Entry(path, 0, "", "it is not a regular file")
