"""Image files below a folder, a bucket prefix, or a folder of a dataset on the hub."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from clip_assets.source import ImageRef, caption, table
from clip_assets.source.config import NOTHING, FolderConfig, Knowledge
from clip_assets.source.entries import entries, refuse_missing
from clip_assets.source.kinds import HEAD, IMAGES, TABLES, image_format, of_name
from clip_assets.source.metadata import Metadata
from clip_assets.source.ordered import Late, in_order
from clip_assets.source.reading import LARGEST, late, path_below, readable
from clip_assets.source.texts import Texts
from clip_assets.source.tree import deadline, open_tree
from clip_assets.store.address import is_remote
from clip_assets.store.entry import Entry


class Folder:
    """Images whose id is their path below the root; captions come from .txt files beside them.

    The metadata of an image comes from a `metadata.csv`, `.tsv`, `.jsonl` or `.parquet` in its
    folder or one above, else from a .json beside it; the table names images relative to its folder.

    Without `extensions`, a file whose name does not tell its kind is an image if its first bytes
    are those of one. Hidden files and folders are skipped.
    """

    def __init__(self, config: FolderConfig, knowledge: Knowledge = NOTHING) -> None:
        self._objects = open_tree(config.uri)
        refuse_missing(self._objects)
        self._within = deadline(config.uri, config.deadline_seconds)
        self._late = late(config.deadline_seconds)
        self._follow_links = config.follow_links
        chosen = config.extensions
        self._others = chosen is None
        self._extensions = (
            IMAGES if chosen is None else {"." + name.lower().lstrip(".") for name in chosen}
        )
        self._knowledge = knowledge
        self.skipped: Counter[str] = Counter()

    def list(self) -> Iterator[ImageRef]:
        self.skipped.clear()
        found = entries(self._objects, self.skipped, self._within, follow_links=self._follow_links)
        listed = sorted(found, key=lambda entry: entry.path)
        kept = Texts(self._objects)
        texts = {
            _lower_extension(entry.path): entry
            for entry in listed
            if entry.path.lower().endswith(".txt") and not entry.fault
        }
        candidates = [entry for entry in listed if self._may_be_image(entry)]
        unread: set[str] = set()
        self.skipped["text files"] -= len(texts.keys() & {_caption(one.path) for one in candidates})
        fields = self._fields(listed, kept)
        read = partial(self._caption, texts, kept, unread)
        work = partial(self._ref, read, fields)
        if texts or fields or any(self._kind(entry) == "unknown" for entry in candidates):
            refs: Iterator[ImageRef | None] = in_order(
                work, candidates, late=self._without_text(unread)
            )
        else:
            refs = map(work, candidates)
        for ref in refs:
            if ref is None:
                self.skipped["other files"] += 1
            else:
                yield ref
        kept.keep()
        self.skipped["captions that cannot be read"] += len(unread)
        for kind in [kind for kind, count in self.skipped.items() if count < 1]:
            del self.skipped[kind]

    def beside(self, path: str) -> bytes:
        """A table below the root. Raises OSError."""
        read = partial(self._objects.get, path, limit=table.LARGEST)
        return self._within.call(read, self._objects.uri(path))

    def read(self, refs: Sequence[ImageRef]) -> Iterator[bytes | OSError]:
        return in_order(self._bytes, refs, late=self._late)

    def _kind(self, entry: Entry) -> str:
        return of_name(entry.path, self._extensions, others=self._others)

    def _may_be_image(self, entry: Entry) -> bool:
        if entry.path.endswith("/"):
            return True
        kind = self._kind(entry)
        if kind == "unknown" and entry.fault:
            kind = "pipes, devices and the like"
        if kind in ("image", "unknown"):
            return True
        self.skipped[kind] += 1
        return False

    def _ref(
        self, read: Callable[[str], str | None], fields: Metadata | None, entry: Entry
    ) -> ImageRef | None:
        """None if the file turns out not to be an image."""
        if not entry.fault and self._kind(entry) == "unknown" and not self._begins_like_one(entry):
            return None
        ref = self._bare(entry)
        if entry.fault:
            return ref
        text = read(_caption(entry.path))
        return replace(ref, caption=text, fields=fields.of(entry.path) if fields else None)

    def _bare(self, entry: Entry) -> ImageRef:
        uri = self._objects.uri(entry.path)
        return ImageRef(image_id=entry.path, uri=uri, etag=entry.etag, fault=entry.fault)

    def _without_text(self, unread: set[str]) -> Late[Entry, ImageRef | None] | None:
        """The entry of an image whose texts or first bytes do not arrive in time."""

        def bare(entry: Entry) -> ImageRef:
            unread.add(_caption(entry.path))
            return self._bare(entry)

        seconds = self._within.seconds
        return None if seconds is None else Late(seconds, bare)

    def _fields(self, listed: Sequence[Entry], texts: Texts) -> Metadata | None:
        """None if no metadata is declared, or if it is in a separate table."""
        used = {name for name in self._knowledge.tables if not is_remote(name)}
        found = None
        if self._knowledge.fields and self._knowledge.metadata is None:
            found = Metadata(self._objects, listed, self._knowledge.fields, texts, self._within)
            used |= found.tables
        self.skipped[TABLES] -= len(used & {entry.path for entry in listed})
        return found

    def _begins_like_one(self, entry: Entry) -> bool:
        if not entry.size:
            return False
        try:
            head = self._objects.get_range(entry.path, 0, min(HEAD, entry.size))
        except OSError:  # reading it will say why
            return True
        return bool(image_format(head))

    @staticmethod
    def _caption(
        texts: Mapping[str, Entry], kept: Texts, unread: set[str], path: str
    ) -> str | None:
        if path not in texts:
            return None
        try:
            return caption.from_text(kept.get(texts[path]))
        except FileNotFoundError:
            return None
        except OSError:
            unread.add(path)
            return None

    def _bytes(self, ref: ImageRef) -> bytes | OSError:
        try:
            return self._objects.get(path_below(self._objects, ref.uri), limit=LARGEST)
        except OSError as error:
            return readable(self._objects, error)


def _lower_extension(path: str) -> str:
    path = unicodedata.normalize("NFC", path)
    return path[:-4] + path[-4:].lower()


def _caption(path: str) -> str:
    """The caption's path in one Unicode form, because the two files may come from two systems."""
    return unicodedata.normalize("NFC", path.rpartition(".")[0] + ".txt")
