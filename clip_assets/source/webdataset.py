"""WebDataset tars: files whose names agree up to the first dot form one sample."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import IO, Any

from clip_assets.errors import SourceError
from clip_assets.source import DamagedError, ImageRef, caption, table
from clip_assets.source.config import NOTHING, Knowledge, WebDatasetConfig
from clip_assets.source.entries import HIDDEN, entries, refuse_missing
from clip_assets.source.kinds import HEAD, hidden, image_format, of_name
from clip_assets.source.ranged import Ranged
from clip_assets.source.reading import LARGEST, in_order, path_below, readable
from clip_assets.source.tar import Member, members
from clip_assets.source.tar_index import Found, TarIndex
from clip_assets.store.objects import Entry, Objects, is_remote, local_path

_TEXTS = ("txt", "json")
_PACKED = (
    "compressed, so its images cannot be read individually; decompress it to a plain .tar, for "
    "example with gunzip: the images themselves are already compressed"
)
_COMPRESSED = re.compile(r"\.(tgz|tar\.(gz|bz2|xz|zst|lz4))$", re.IGNORECASE)
_KEY_AND_EXTENSION = re.compile(r"^((?:.*/)?[^./]+)\.([^/]+)$")


class WebDataset:
    """Images in tars, each read with one range request.

    An image's id is the tar's path without `.tar`, then the sample's key, then the extension if
    the sample has several images. A member whose name does not tell what it is counts as an image
    if it begins like one.
    """

    def __init__(self, config: WebDatasetConfig, knowledge: Knowledge = NOTHING) -> None:
        if _COMPRESSED.search(config.uri):
            raise SourceError(f"{config.uri} is {_PACKED}.")
        folder, self._only = _folder_and_tar(config.uri.rstrip("/"))
        self._objects = Objects(folder)
        refuse_missing(self._objects)
        self._wanted = knowledge.fields
        self.skipped: Counter[str] = Counter()

    def list(self) -> Iterator[ImageRef]:
        self.skipped.clear()
        tars = sorted(self._tars(), key=lambda entry: entry.path)
        index = TarIndex(self._objects.root, self._wanted)
        refs = partial(_refs, self._objects, index, self._wanted)
        # Headers of remote tars cost round trips, so several tars are listed in parallel.
        for found, skipped in in_order(refs, tars, threads=8, ahead=8):
            self.skipped.update(skipped)
            yield from found
        index.forget_others()

    def beside(self, path: str) -> bytes:
        """A table below the root. Raises OSError."""
        return self._objects.get(path, limit=table.LARGEST)

    def read(self, refs: Sequence[ImageRef]) -> Iterator[bytes | OSError]:
        tag = cache(lambda path: self._objects.stat(path).etag)

        def one(ref: ImageRef) -> bytes | OSError:
            path = path_below(self._objects, ref.uri)
            try:
                return _bytes(self._objects, ref, path, tag(path))
            except OSError as error:
                return readable(self._objects, error)

        return in_order(one, refs)

    def _tars(self) -> Iterator[Entry]:
        if self._only:
            yield _existing(self._objects, self._only)
            return
        for entry in entries(self._objects, self.skipped):
            if entry.path.endswith((".tar", "/")):
                yield entry
            elif _COMPRESSED.search(entry.path):
                yield replace(entry, fault=_PACKED)
            else:
                kind = of_name(entry.path)
                known = {"image": "images outside tars", "unknown": "other files"}
                self.skipped[known.get(kind, kind)] += 1


@dataclass
class _Sample:
    """The files that share one key: images by extension, captions by file type."""

    images: list[tuple[str, Member]] = field(default_factory=list)
    captions: dict[str, str | None] = field(default_factory=dict)
    fields: dict[str, Any] | None = None

    def add(self, extension: str, member: Member, wanted: Collection[str]) -> str:
        """Returns the kind of a member that is neither image nor caption, in words."""
        if extension in _TEXTS:
            if member.data is not None and extension == "txt":
                self.captions[extension] = caption.from_text(member.data)
            elif member.data is not None:
                found = caption.json_object(member.data)
                self.captions[extension] = caption.from_fields(found)
                self.fields = {name: found[name] for name in wanted if name in found} or None
            return ""
        kind = of_name(member.name)
        if kind == "image" or (kind == "unknown" and image_format(member.data or b"")):
            self.images.append((extension, member))
            return ""
        return "other files" if kind == "unknown" else kind

    def named(self, key: str) -> Iterator[tuple[str, Member]]:
        for extension, member in self.images:
            named = f"{key}.{extension}" if len(self.images) > 1 and extension else key
            yield named, member

    @property
    def caption(self) -> str | None:
        return self.captions.get("txt") or self.captions.get("json")


def _refs(objects: Objects, index: TarIndex, wanted: Collection[str], tar: Entry) -> Found:
    """The tar's images, and how many members are none, by kind.

    If it cannot be read to its end, the last image has a fault and stands for the rest of the tar.
    """
    if tar.fault:
        return [_fault(objects, tar, tar.fault)], Counter()
    try:
        return index.found(tar, partial(_look, objects, wanted, tar))
    except OSError as error:
        reason = str(readable(objects, error))
        return [_fault(objects, tar, f"the tar cannot be read ({reason})")], Counter()


def _look(objects: Objects, wanted: Collection[str], tar: Entry) -> Found:
    with _opened(objects, tar) as file:
        return _found(objects, tar, members(file, tar.size, _wanted), wanted)


def _fault(objects: Objects, tar: Entry, fault: str) -> ImageRef:
    name = f"{tar.path.removesuffix('.tar')}/" if tar.path.endswith(".tar") else tar.path
    return ImageRef(name, objects.uri(tar.path), tar.etag, fault=fault)


def _found(objects: Objects, tar: Entry, files: Iterable[Member], wanted: Collection[str]) -> Found:
    samples: dict[str, _Sample] = {}
    skipped: Counter[str] = Counter()
    rest: list[ImageRef] = []
    for member in files:
        if not member.name:
            rest.append(_fault(objects, tar, member.fault or ""))
        elif any(map(hidden, member.name.split("/"))):
            skipped[HIDDEN] += 1
        else:
            key, extension = _split(member.name)
            kind = samples.setdefault(key, _Sample()).add(extension, member, wanted)
            skipped.update([kind] if kind else [])
    prefix = tar.path.removesuffix(".tar")
    images = [
        ImageRef(
            image_id=f"{prefix}/{name}",
            uri=objects.uri(tar.path),
            etag=f"{tar.etag}:{member.offset}",
            offset=member.offset,
            size=member.size,
            caption=sample.caption,
            fault=member.fault,
            fields=sample.fields,
        )
        for key, sample in samples.items()
        for name, member in sample.named(key)
    ]
    return images + rest, skipped


def _split(name: str) -> tuple[str, str]:
    """Key and lower-case extension, which is empty if the name has none."""
    found = _KEY_AND_EXTENSION.match(name)
    return (found[1], found[2].lower()) if found else (name, "")


def _wanted(name: str, size: int) -> int:
    if _split(name)[1] in _TEXTS:
        return size if size <= caption.LARGEST else 0
    return HEAD if of_name(name) == "unknown" else 0


def _opened(objects: Objects, tar: Entry) -> IO[bytes] | Ranged:
    if not objects.folder:
        return Ranged(partial(objects.get_range, tar.path), tar.size)
    return (objects.folder / tar.path).open("rb")


def _bytes(objects: Objects, ref: ImageRef, path: str, etag: str) -> bytes:
    # In a rewritten tar the offsets may point at another image, so nothing is read from it.
    if ref.etag.rpartition(":")[0] != etag:
        raise OSError("the tar has changed since it was catalogued")
    if ref.offset is None or not ref.size:
        return b""
    if ref.size > LARGEST:
        raise DamagedError(f"file too large ({ref.size >> 20} MiB, at most {LARGEST >> 20})")
    return objects.get_range(path, ref.offset, ref.size)


def _folder_and_tar(uri: str) -> tuple[str, str]:
    if not uri.endswith(".tar"):
        return uri, ""
    if is_remote(uri):
        folder, _, name = uri.rpartition("/")
        return folder, name
    path = local_path(uri).resolve()
    return (str(path), "") if path.is_dir() else (str(path.parent), path.name)


def _existing(objects: Objects, path: str) -> Entry:
    try:
        return objects.stat(path)
    except FileNotFoundError as error:
        raise SourceError(
            f"{objects.uri(path)} does not exist. Check `uri` in the collection's YAML."
        ) from error
