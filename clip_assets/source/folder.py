"""Image files below a folder or a bucket prefix."""

from collections.abc import Iterator, Sequence
from functools import partial

from clip_assets.errors import SourceError
from clip_assets.source import ImageRef, caption
from clip_assets.source.config import FolderConfig
from clip_assets.source.reading import LARGEST, in_order, path_below, readable
from clip_assets.store.objects import Entry, Objects


class Folder:
    """Images whose id is their path below the root; captions come from .txt files beside them.

    Files and folders whose names begin with a dot are skipped.
    """

    def __init__(self, config: FolderConfig) -> None:
        self._objects = Objects(config.uri)
        refuse_missing(self._objects)
        self._extensions = {"." + name.lower().lstrip(".") for name in config.extensions}

    def list(self) -> Iterator[ImageRef]:
        entries = sorted(visible(self._objects), key=lambda entry: entry.path)
        texts = {entry.path for entry in entries if entry.path.endswith(".txt")}
        images = (entry for entry in entries if _extension(entry.path) in self._extensions)
        if not texts:
            yield from (self._ref(set(), entry) for entry in images)
            return
        yield from in_order(partial(self._ref, texts), images)

    def read(self, refs: Sequence[ImageRef]) -> Iterator[bytes | OSError]:
        return in_order(self._bytes, refs)

    def _ref(self, texts: set[str], entry: Entry) -> ImageRef:
        text = entry.path.rpartition(".")[0] + ".txt"
        return ImageRef(
            image_id=entry.path,
            uri=self._objects.uri(entry.path),
            etag=entry.etag,
            caption=self._caption(text) if text in texts else None,
        )

    def _caption(self, path: str) -> str | None:
        try:
            return caption.from_text(self._objects.get(path, limit=caption.LARGEST))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SourceError(
                f"{self._objects.uri(path)}: cannot read the caption ({error}). "
                "Make the file readable, or remove it."
            ) from error

    def _bytes(self, ref: ImageRef) -> bytes | OSError:
        try:
            return self._objects.get(path_below(self._objects, ref.uri), limit=LARGEST)
        except OSError as error:
            return readable(self._objects, error)


def refuse_missing(objects: Objects) -> None:
    """Raises SourceError if a local root is not a folder."""
    if objects.folder and not objects.folder.is_dir():
        raise SourceError(
            f"{objects.root} is not a folder on this machine. Check the path in the collection's "
            "YAML; a relative path is resolved from the directory the command runs in."
        )


def visible(objects: Objects) -> Iterator[Entry]:
    """Entries whose path has no file or folder name that begins with a dot."""
    try:
        for entry in objects.list():
            if not entry.path.startswith(".") and "/." not in entry.path:
                yield entry
    except OSError as error:
        raise SourceError(
            f"Cannot list {objects.root} ({error}). Make it readable for this user."
        ) from error


def _extension(path: str) -> str:
    _, dot, name = path.rpartition(".")
    return dot + name.lower()
