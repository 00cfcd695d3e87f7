"""Inspects a Hugging Face dataset, to fill in its `source:` block."""

import posixpath
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from clip_assets.errors import SourceError
from clip_assets.source import layout, saved
from clip_assets.source.card import Declared, configurations, declared
from clip_assets.source.config import HuggingFaceConfig
from clip_assets.source.deadline import SECONDS, Deadline
from clip_assets.source.files import Files, LocalFiles
from clip_assets.source.huggingface import files_of, opened
from clip_assets.source.named import Neighbours, names
from clip_assets.source.rows import ColumnError, leaf
from clip_assets.store.entry import Entry

_IMAGES = ("image", "img", "images", "jpg", "photo", "picture")
_CAPTIONS = ("caption", "captions", "text", "sentence", "sentences", "description", "title")


@dataclass(frozen=True)
class Inspection:
    """The `source:` block without defaults, and what was found, one line each."""

    source: dict[str, Any]
    lines: list[str] = field(default_factory=list)


def inspect_dataset(dataset: str, seconds: float = SECONDS) -> Inspection:
    """Inspect the dataset, which is a hub id or a local folder.

    Raises SourceError if it cannot be reached or has no readable images, or if a folder does not
    answer within `seconds`.
    """
    config = HuggingFaceConfig(type="huggingface", dataset=dataset, deadline_seconds=seconds)
    files = Deadline(seconds).call(lambda: files_of(config), dataset)
    within = Deadline(seconds if isinstance(files, LocalFiles) else None)
    entries = {entry.path: entry for entry in files.list(Counter())}
    name, names, split, splits, chosen = _split(files, entries, dataset)
    if not chosen:
        return _unpacked(dataset, entries)
    given: dict[str, Any] = {"type": "huggingface", "dataset": dataset}
    given |= {"config": name} if name != "default" else {}
    given |= {"split": split} if split != "train" and splits else {}
    lines = [f"configuration: {name} (of {', '.join(names)})"] if len(names) > 1 else []
    lines += [f"split: {split} (of {', '.join(splits)})"] if splits else []
    first = entries[chosen[0]]
    schema, naming = within.call(lambda: _schema(files, first, entries), files.uri(first.path))
    given |= _columns(schema, naming, lines)
    size = sum(entries[path].size for path in chosen) / 2**20
    lines.append(f"{len(chosen)} files, {size:,.0f} MiB")
    return Inspection(given, lines)


def _schema(files: Files, entry: Entry, entries: dict[str, Entry]) -> tuple[pa.Schema, list[str]]:
    """The schema, and the columns whose first row names a file of the dataset."""
    beside = Neighbours(entries, files.uri("x")[:-1])
    folder = posixpath.dirname(entry.path)
    with opened(files, entry) as file:
        schema: pa.Schema = file.schema_arrow
        candidates = [name for name in schema.names if _has_images(schema, name)] or schema.names
        found = {name: next(names(file, name) or iter(()), None) for name in candidates}
    first = {name: one[0] if isinstance(one, list) and one else one for name, one in found.items()}
    return schema, [
        name
        for name, one in first.items()
        if isinstance(one, str) and (path := beside.path_of(one, folder)) and layout.is_image(path)
    ]


def _split(
    files: Files, entries: Collection[str], dataset: str
) -> tuple[str, list[str], str, list[str], Sequence[str]]:
    """A configuration and all there are, a split and all there are, and the split's files."""
    known = saved.splits(files, entries)
    if known is not None:
        split = _preferred(known)
        return "default", [], split, known, saved.shards(files, known, split, dataset)
    readme = files.fetch("README.md")[0].read_bytes() if "README.md" in entries else b""
    names = configurations(readme) or _folders(entries)
    for name in names:
        card = declared(readme, name)
        splits = [*card.splits] if card else []
        splits = splits or [one for one in layout.SPLITS if _found(entries, name, one, card)]
        if splits:
            split = _preferred(splits)
            chosen = layout.shards(entries, name, split, dataset, card)
            return name, names, split, splits, chosen
    return "default", [], "train", [], ()


def _folders(entries: Collection[str]) -> list[str]:
    """Configurations with their own folders, the default one first."""
    parquet = [path for path in entries if path.endswith(".parquet")]
    return ["default", *sorted({path.split("/")[0] for path in parquet if "/" in path} - {"data"})]


def _found(entries: Collection[str], config: str, split: str, card: Declared | None) -> bool:
    try:
        return bool(layout.shards(entries, config, split, "", card))
    except SourceError:
        return False


def _preferred(splits: Sequence[str]) -> str:
    return "train" if "train" in splits or not splits else splits[0]


def _columns(schema: pa.Schema, naming: Sequence[str], lines: list[str]) -> dict[str, Any]:
    """The columns of images and captions that are not the default; reports all columns.

    `naming` are the columns that name files of the dataset.
    """
    images = [name for name in schema.names if _has_images(schema, name)]
    images = [name for name in images if name not in naming] or [*naming]
    if not images:
        raise SourceError(
            f"No column of the dataset has images; it has {', '.join(schema.names)}. Datasets of "
            "addresses are downloaded first, for example by img2dataset."
        )
    image = next((name for name in _IMAGES if name in images), images[0])
    caption = next((name for name in _CAPTIONS if _has_texts(schema, name)), None)
    others = [f"{one.name} ({one.type})" for one in schema if one.name not in {image, caption}]
    lines.append(f"images: {image}")
    lines.append(f"captions: {caption or 'none'}")
    lines += [f"other columns: {', '.join(others)}"] if others else []
    found = {"image_column": image} if image != "image" else {}
    return found | ({"caption_column": caption} if caption else {})


def _has_images(schema: pa.Schema, name: str) -> bool:
    try:
        leaf(schema, name)
    except ColumnError:
        return False
    return True


def _has_texts(schema: pa.Schema, name: str) -> bool:
    if name not in schema.names:
        return False
    kind = schema.field(name).type
    one = kind.value_type if pa.types.is_list(kind) else kind
    return bool(pa.types.is_string(one) or pa.types.is_large_string(one))


def _unpacked(dataset: str, entries: dict[str, Entry]) -> Inspection:
    """A dataset of tars, or of image files, which the hub calls WebDataset and ImageFolder."""
    root = dataset if dataset.startswith(("/", ".", "~")) else f"hf://datasets/{dataset}"
    for kind, noun, is_one in (
        ("webdataset", "tars", layout.tar_like),
        ("folder", "image files", layout.is_image),
    ):
        found = [path for path in entries if is_one(path)]
        if found:
            folders = {path.split("/")[0] for path in found if "/" in path}
            below = "/train" if "train" in folders and len(folders) > 1 else ""
            counted = sum(path.startswith("train/") for path in found) if below else len(found)
            more = f" (of {', '.join(sorted(folders))})" if below else ""
            return Inspection(
                {"type": kind, "uri": root + below},
                [f"{counted} {noun}, no parquet", *([f"folder: train{more}"] if below else [])],
            )
    raise SourceError(
        f"{dataset} has no images that can be read: no parquet or Arrow files, tars or images."
    )
