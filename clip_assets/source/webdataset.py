"""WebDataset tars: files whose names agree up to the first dot form one sample."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain
from typing import IO

from clip_assets.errors import SourceError
from clip_assets.source import ImageRef, caption
from clip_assets.source.config import WebDatasetConfig
from clip_assets.source.folder import refuse_missing, visible
from clip_assets.source.ranged import Ranged
from clip_assets.source.reading import LARGEST, in_order, path_below, readable
from clip_assets.source.tar import Member, members
from clip_assets.store.objects import Entry, Objects, is_remote, local_path

IMAGES = {"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"}
_CAPTIONS = {"txt": caption.from_text, "json": caption.from_json}
_COMPRESSED = re.compile(r"\.(tgz|tar\.(gz|bz2|xz|zst|lz4))$", re.IGNORECASE)
_KEY_AND_EXTENSION = re.compile(r"^((?:.*/)?[^./]+)\.([^/]+)$")


class WebDataset:
    """Images in tars, each read with one range request.

    An image's id is the tar's path without `.tar`, then the sample's key, then the extension if
    the sample has several images.
    """

    def __init__(self, config: WebDatasetConfig) -> None:
        _refuse_compressed(config.uri)
        folder, self._only = _folder_and_tar(config.uri.rstrip("/"))
        self._objects = Objects(folder)
        refuse_missing(self._objects)

    def list(self) -> Iterator[ImageRef]:
        tars = sorted(self._tars(), key=lambda entry: entry.path)
        refs = partial(_refs, self._objects)
        # Headers of remote tars cost round trips, so several tars are listed in parallel.
        yield from chain.from_iterable(in_order(refs, tars, threads=8, ahead=8))

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
        for entry in visible(self._objects):
            _refuse_compressed(self._objects.uri(entry.path))
            if entry.path.endswith(".tar"):
                yield entry


@dataclass
class _Sample:
    """The files that share one key: images by extension, captions by file type."""

    images: list[tuple[str, Member]] = field(default_factory=list)
    captions: dict[str, str | None] = field(default_factory=dict)

    def add(self, extension: str, member: Member) -> None:
        if extension.rpartition(".")[2] in IMAGES:
            self.images.append((extension, member))
        elif extension in _CAPTIONS and member.data is not None:
            self.captions[extension] = _CAPTIONS[extension](member.data)

    def named(self, key: str) -> Iterator[tuple[str, Member]]:
        for extension, member in self.images:
            yield (key if len(self.images) == 1 else f"{key}.{extension}"), member

    @property
    def caption(self) -> str | None:
        return self.captions.get("txt") or self.captions.get("json")


def _refs(objects: Objects, tar: Entry) -> list[ImageRef]:
    uri, prefix = objects.uri(tar.path), tar.path.removesuffix(".tar")
    with _opened(objects, tar) as file:
        samples = _samples(members(file, uri, wanted=_is_caption))
    return [
        ImageRef(
            image_id=f"{prefix}/{name}",
            uri=uri,
            etag=f"{tar.etag}:{member.offset}",
            offset=member.offset,
            size=member.size,
            caption=sample.caption,
        )
        for key, sample in samples.items()
        for name, member in sample.named(key)
    ]


def _samples(files: Iterable[Member]) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}
    for member in files:
        key, extension = _split(member.name)
        if extension:
            samples.setdefault(key, _Sample()).add(extension, member)
    return samples


def _split(name: str) -> tuple[str, str]:
    """Key and lower-case extension; two empty strings if the file is hidden or has neither."""
    found = _KEY_AND_EXTENSION.match(name.removeprefix("./"))
    return (found[1], found[2].lower()) if found else ("", "")


def _is_caption(name: str, size: int) -> bool:
    return _split(name)[1] in _CAPTIONS and size <= caption.LARGEST


def _opened(objects: Objects, tar: Entry) -> IO[bytes] | Ranged:
    if not objects.folder:
        return Ranged(partial(objects.get_range, tar.path), tar.size)
    try:
        return (objects.folder / tar.path).open("rb")
    except OSError as error:
        raise SourceError(
            f"{objects.uri(tar.path)} cannot be opened ({error.strerror}). Make it readable."
        ) from error


def _bytes(objects: Objects, ref: ImageRef, path: str, etag: str) -> bytes:
    # In a rewritten tar the offsets may point at another image, so nothing is read from it.
    if ref.etag.rpartition(":")[0] != etag:
        raise OSError("the tar has changed since it was catalogued")
    if ref.offset is None or not ref.size:
        return b""
    if ref.size > LARGEST:
        raise OSError(f"file too large ({ref.size >> 20} MiB, at most {LARGEST >> 20})")
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


def _refuse_compressed(uri: str) -> None:
    if _COMPRESSED.search(uri):
        raise SourceError(
            f"{uri} is compressed, so its images cannot be read individually. Decompress it to a "
            "plain .tar (for example with gunzip); the images themselves are already compressed."
        )
