"""WebDataset tars: files whose names agree up to the first dot form one sample."""

import io
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import IO, Any, TypeVar

from clip_assets.errors import SourceError, StoreError
from clip_assets.source import DamagedError, ImageRef, caption, pattern, table
from clip_assets.source.config import NOTHING, Knowledge, WebDatasetConfig
from clip_assets.source.deadline import Deadline
from clip_assets.source.entries import HIDDEN, entries, refuse_missing
from clip_assets.source.kinds import HEAD, hidden, image_format, of_name
from clip_assets.source.ordered import in_order
from clip_assets.source.packed import compressed, is_tar, unpacked, without_suffix
from clip_assets.source.ranged import Ranged
from clip_assets.source.reading import LARGEST, late, path_below, readable
from clip_assets.source.tar import Member, members
from clip_assets.source.tar_index import Found, TarIndex
from clip_assets.source.tree import Tree, deadline, open_tree
from clip_assets.store.address import is_remote, local_path
from clip_assets.store.entry import Entry

_TEXTS = ("txt", "json")
Value = TypeVar("Value")
_PACKED = "compressed in a way that is not read; decompress it to a plain .tar, or use gzip or zstd"
_UNREAD = re.compile(r"\.tar\.(lz4|lzma|lzo|Z|br)$", re.IGNORECASE)
_KEY_AND_EXTENSION = re.compile(r"^((?:.*/)?[^./]+)\.([^/]+)$")


class WebDataset:
    """Images in tars, each read with one range request.

    An image's id is the tar's path without `.tar`, then the sample's key, then the extension if
    the sample has several images. A member whose name does not tell its kind is an image if its
    first bytes are those of one.
    """

    def __init__(self, config: WebDatasetConfig, knowledge: Knowledge = NOTHING) -> None:
        if _UNREAD.search(config.uri):
            raise SourceError(f"{config.uri} is {_PACKED}.")
        root, chosen = pattern.split(config.uri.rstrip("/"))
        self._matches = pattern.matcher(chosen).match if chosen else None
        self._named = pattern.named(chosen) if chosen else []
        folder, self._only = (root, "") if chosen else _folder_and_tar(root)
        self._objects = open_tree(folder)
        self._within = deadline(folder, config.deadline_seconds)
        self._late = late(config.deadline_seconds)
        refuse_missing(self._objects)
        self._wanted = knowledge.fields
        self.skipped: Counter[str] = Counter()

    def list(self) -> Iterator[ImageRef]:
        self.skipped.clear()
        tars = sorted(self._tars(), key=lambda entry: entry.path)
        index = TarIndex(self._objects.root, self._wanted)
        refs = partial(_refs, self._objects, index, self._within, self._wanted)
        # Headers of remote tars cost round trips, so several tars are listed in parallel.
        for found, skipped in in_order(refs, tars, threads=8, ahead=8):
            self.skipped.update(skipped)
            yield from found
        index.forget_others()

    def beside(self, path: str) -> bytes:
        """A table below the root. Raises OSError."""
        read = partial(self._objects.get, path, limit=table.LARGEST)
        return self._within.call(read, self._objects.uri(path))

    def read(self, refs: Sequence[ImageRef]) -> Iterator[bytes | OSError]:
        @cache
        def tar(path: str) -> Entry:
            return self._within.call(partial(self._objects.stat, path), self._objects.uri(path))

        def one(ref: ImageRef) -> bytes | OSError:
            path = path_below(self._objects, ref.uri)
            try:
                return _bytes(self._objects, self._within, ref, tar(path))
            except OSError as error:
                return readable(self._objects, error)

        # On a new machine, the first image of a compressed tar waits until the tar is unpacked.
        packed = any(compressed(ref.uri) for ref in refs)
        return in_order(one, refs, late=None if packed else self._late)

    def _tars(self) -> Iterator[Entry]:
        if self._only:
            look = partial(_existing, self._objects, self._only)
            yield self._within.call(look, self._objects.uri(self._only))
            return
        missing = dict.fromkeys(self._named)
        for entry in entries(self._objects, self.skipped, self._within):
            missing.pop(entry.path, None)
            if self._matches and not (entry.path.endswith("/") or self._matches(entry.path)):
                self.skipped["files that the address does not name"] += 1
            elif entry.path.endswith("/") or is_tar(entry.path):
                yield entry
            elif _UNREAD.search(entry.path):
                yield replace(entry, fault=_PACKED)
            else:
                kind = of_name(entry.path)
                known = {"image": "images outside tars", "unknown": "other files"}
                self.skipped[known.get(kind, kind)] += 1
        if missing:
            self.skipped["tars that the address names and that are missing"] += len(missing)


@dataclass
class _Sample:
    """The files that share one key: images by extension, captions by file type."""

    images: list[tuple[str, Member]] = field(default_factory=list)
    captions: dict[str, str | None] = field(default_factory=dict)
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    values: dict[str, str | None] = field(default_factory=dict)

    def add(self, extension: str, member: Member, wanted: Collection[str]) -> str:
        """The kind of a member that is neither image nor caption, in words."""
        if _kind(extension) in _TEXTS:
            extension = _composed(extension)
            if member.data is not None and _kind(extension) == "txt":
                self.captions[extension] = caption.from_text(member.data)
            elif member.data is not None:
                found = caption.json_object(member.data)
                self.captions[extension] = caption.from_fields(found)
                self.fields[extension] = {name: found[name] for name in wanted if name in found}
            return ""
        if _is_value(extension, wanted) and not image_format(member.data or b""):
            text = member.data and caption.from_text(member.data)
            self.values[_composed(extension)] = text or None
            return ""
        kind = of_name(member.name)
        if kind == "image" or (kind == "unknown" and image_format(member.data or b"")):
            self.images.append((extension, member))
            return ""
        return "other files" if kind == "unknown" else kind

    def named(self) -> Iterator[tuple[str, Member]]:
        for extension, member in self.images:
            key, _ = _split(member.name)
            named = f"{key}.{extension}" if len(self.images) > 1 and extension else key
            yield named, member

    def caption_of(self, name: str) -> str | None:
        """The caption of the image with this name: `a.2.jpg` has `a.2.txt`, else `a.txt`."""
        return _first(self.captions, [one for kind in _TEXTS for one in _beside(name, kind)])

    def fields_of(self, name: str, wanted: Collection[str]) -> dict[str, Any] | None:
        """The wanted fields, found in the same way: of its .json, else its file of that type."""
        of_json = _first(self.fields, _beside(name, "json"))
        found = {one: _first(self.values, _beside(name, one.lower())) for one in wanted}
        values = {one: value for one, value in found.items() if value is not None}
        return {**values, **of_json} if of_json is not None else values or None


def _refs(
    objects: Tree, index: TarIndex, within: Deadline, wanted: Collection[str], tar: Entry
) -> Found:
    """The tar's images, and the number of other members by kind.

    If it cannot be read to its end, the last image has a fault and stands for the rest of the tar.
    """
    if tar.fault:
        return [_fault(objects, tar, tar.fault)], Counter()
    try:
        return index.found(tar, partial(_look, objects, within, wanted, tar))
    except OSError as error:
        reason = str(readable(objects, error))
        return [_fault(objects, tar, f"the tar cannot be read ({reason})")], Counter()


def _look(objects: Tree, within: Deadline, wanted: Collection[str], tar: Entry) -> Found:
    found = _members(objects, within, wanted, tar)
    if objects.folder:  # each request to a store has a deadline of its own
        found = within.each(found, lambda: objects.uri(tar.path))
    return _found(objects, tar, found, wanted)


def _members(
    objects: Tree, within: Deadline, wanted: Collection[str], tar: Entry
) -> Iterator[Member]:
    with _opened(objects, within, tar) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        yield from members(file, size, partial(_bytes_wanted, wanted))


def _fault(objects: Tree, tar: Entry, fault: str) -> ImageRef:
    name = f"{without_suffix(tar.path)}/" if is_tar(tar.path) else tar.path
    return ImageRef(name, objects.uri(tar.path), tar.etag, fault=fault)


def _found(objects: Tree, tar: Entry, files: Iterable[Member], wanted: Collection[str]) -> Found:
    samples: dict[str, _Sample] = {}
    skipped: Counter[str] = Counter()
    rest: list[ImageRef] = []
    for member in files:
        if not member.name:
            rest.append(_fault(objects, tar, member.fault or ""))
        elif any(map(hidden, member.name.replace("../", "").split("/"))):
            skipped[HIDDEN] += 1
        else:
            key, extension = _split(member.name)
            kind = samples.setdefault(_composed(key), _Sample()).add(extension, member, wanted)
            skipped.update([kind] if kind else [])
    prefix = without_suffix(tar.path)
    images = [
        ImageRef(
            image_id=f"{prefix}/{name}",
            uri=objects.uri(tar.path),
            etag=f"{tar.etag}:{member.offset}",
            offset=member.offset,
            size=member.size,
            caption=sample.caption_of(member.name),
            fault=member.fault,
            fields=sample.fields_of(member.name, wanted),
        )
        for sample in samples.values()
        for name, member in sample.named()
    ]
    return images + rest, skipped


def _split(name: str) -> tuple[str, str]:
    """Key and lower-case extension, which is empty if the name has none."""
    found = _KEY_AND_EXTENSION.match(name)
    return (found[1], found[2].lower()) if found else (name, "")


def _beside(name: str, kind: str) -> list[str]:
    """The extensions of the file of this kind that is about the image."""
    inner = _composed(_split(name)[1].rpartition(".")[0])
    return [f"{inner}.{kind}", kind] if inner else [kind]


def _composed(text: str) -> str:
    """The name in one Unicode form, because an image and its caption may come from two systems."""
    return unicodedata.normalize("NFC", text)


def _first(found: Mapping[str, Value | None], names: Iterable[str]) -> Value | None:
    return next((found[name] for name in names if found.get(name)), None)


def _kind(extension: str) -> str:
    """The last part of an extension that may have dots."""
    return extension.rpartition(".")[2]


def _is_value(extension: str, wanted: Collection[str]) -> bool:
    """Whether the file has one value of each sample, such as the class in a `.cls`."""
    kind = _kind(extension)
    return kind in {one.lower() for one in wanted} and of_name(f"x.{kind}") != "image"


def _bytes_wanted(wanted: Collection[str], name: str, size: int) -> int:
    extension = _split(name)[1]
    if _kind(extension) in _TEXTS or _is_value(extension, wanted):
        return size if size <= caption.LARGEST else 0
    return HEAD if of_name(name) == "unknown" else 0


def _opened(objects: Tree, within: Deadline, tar: Entry) -> IO[bytes] | Ranged:
    if compressed(tar.path):
        return unpacked(objects, tar, within).open("rb")
    if not objects.folder:
        return Ranged(partial(objects.get_range, tar.path), tar.size)
    return objects.open(tar.path)


def _bytes(objects: Tree, within: Deadline, ref: ImageRef, tar: Entry) -> bytes:
    # In a rewritten tar the offsets may point at another image, so nothing is read from it.
    if ref.etag.rpartition(":")[0] != tar.etag:
        raise OSError("the tar has changed since it was catalogued")
    if ref.offset is None or not ref.size:
        return b""
    if ref.size > LARGEST:
        raise DamagedError(f"file too large ({ref.size >> 20} MiB, at most {LARGEST >> 20})")
    if compressed(tar.path):
        with unpacked(objects, tar, within).open("rb") as file:
            file.seek(ref.offset)
            return file.read(ref.size)
    return objects.get_range(tar.path, ref.offset, ref.size)


def _folder_and_tar(uri: str) -> tuple[str, str]:
    if not is_tar(uri):
        return uri, ""
    if is_remote(uri):
        folder, _, name = uri.rpartition("/")
        return folder, name
    path = local_path(uri).resolve()
    return (str(path), "") if path.is_dir() else (str(path.parent), path.name)


def _existing(objects: Tree, path: str) -> Entry:
    try:
        return objects.stat(path)
    except FileNotFoundError as error:
        raise SourceError(
            f"{objects.uri(path)} does not exist. Check `uri` in the collection's YAML."
        ) from error
    except StoreError:
        raise
    except OSError as error:
        raise SourceError(f"{objects.uri(path)} cannot be read ({error}).") from error
