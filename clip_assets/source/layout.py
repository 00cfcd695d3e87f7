"""Finds the files of a Hugging Face dataset that hold one split of one configuration."""

import re
from collections.abc import Collection

from clip_assets.errors import SourceError
from clip_assets.source.card import Declared
from clip_assets.source.kinds import of_name
from clip_assets.source.packed import is_tar

_NUMBERED = re.compile(r"(.*-)(\d{5})-of-(\d{5})\.parquet")
_MOST = 100_000  # files of one split
SPLITS = ("train", "training", "validation", "valid", "dev", "val", "test", "testing", "eval")
"""The usual names of splits."""


def shards(
    paths: Collection[str], config: str, split: str, where: str, declared: Declared | None = None
) -> list[str]:
    """The split's parquet files in order: those that the dataset's card declares, if it does.

    Else they are found by the hub's naming conventions: `train-00000-of-00002.parquet`,
    `train.parquet` and `train/0000.parquet`, in the root or in `data/`; a configuration other than
    `default` has its own folder. In the default configuration, if no file names a split, all files
    are `train`. A folder that the card declares is searched as if it were the dataset.

    Raises SourceError listing the parquet files that exist.
    """
    folder = declared.folder if declared and not declared.splits else ""
    parquet = sorted(path for path in paths if path.endswith(".parquet"))
    if declared and declared.splits:
        if split not in declared.splits:
            raise SourceError(
                f"{where}: its README.md declares no split {split!r} of configuration {config!r}, "
                f"only {', '.join(declared.splits)}; set `split` to one of them."
            )
        if found := declared.files(parquet, split):
            return found
        raise SourceError(
            f"{where}: {', '.join(declared.splits[split])} is declared as split {split!r}, in "
            f"README.md or `files`, and no parquet file matches. It has {_some(parquet)}."
        )
    if folder:
        inside = [path.removeprefix(folder) for path in parquet if path.startswith(folder)]
        return [folder + path for path in shards(inside, "default", split, f"{where}/{folder}")]
    for prefix in _prefixes(config):
        below = [path for path in parquet if path.startswith(prefix)]
        found = [path for path in below if _in_split(path[len(prefix) :], split)]
        if found:
            return found
    if config == "default" and split == "train" and not any(map(_names_a_split, parquet)):
        unnamed = [path for path in parquet if re.fullmatch(r"(data/)?[^/]+", path)]
        if unnamed:
            return unnamed
    raise SourceError(
        f"{where} has no parquet files of configuration {config!r}, split {split!r}. "
        f"It has {_some(parquet)}; set `config` and `split` to match.{_other(paths, where)}"
    )


def missing(paths: Collection[str]) -> set[str]:
    """The missing files of a series such as `train-00000-of-00003.parquet`, as in a dataset that
    was copied incompletely."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for path in paths:
        if found := _NUMBERED.fullmatch(path):
            numbers.setdefault((found[1], found[3]), []).append(int(found[2]))
    return {
        f"{stem}{number:05}-of-{count}.parquet"
        for (stem, count), there in numbers.items()
        if int(count) <= _MOST
        for number in {*range(int(count))} - {*there}
    }


def _prefixes(config: str) -> tuple[str, ...]:
    own = (f"{config}/", f"{config}/data/", f"data/{config}/")
    return (*own, "data/", "") if config == "default" else own


def _in_split(path: str, split: str) -> bool:
    """The hub prefixes `partial-` when it converted only the first part of a very large split."""
    return bool(re.fullmatch(rf"(partial-)?{re.escape(split)}((-|/)[^/]*)?\.parquet", path))


def _names_a_split(path: str) -> bool:
    return any(word in SPLITS for word in re.split(r"[^a-z]+", path.lower()))


def _other(paths: Collection[str], where: str) -> str:
    """How to read a dataset whose images are in tars or separate files."""
    uri = where if where.startswith(("/", ".", "~")) else f"hf://datasets/{where}"
    for kind, found in (("webdataset", tar_like), ("folder", is_image)):
        if any(map(found, paths)):
            return f" Its images are not in parquet: use `type: {kind}` and `uri: {uri}`."
    return ""


def tar_like(path: str) -> bool:
    """Whether the file is a tar of images, by its name."""
    return is_tar(path)


def is_image(path: str) -> bool:
    """Whether the file is an image, by its name."""
    return of_name(path) == "image"


def _some(paths: list[str]) -> str:
    if not paths:
        return "no parquet files at all"
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
