"""Reads configurations, splits and files from a dataset's card, its README.md."""

import re
import unicodedata
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

import yaml

_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Declared:
    """The patterns of one configuration's files, by split; without any, the folder that its files
    are in, where their names tell the split."""

    splits: dict[str, tuple[str, ...]]
    folder: str = ""

    def files(self, paths: list[str], split: str) -> list[str]:
        """The paths of the split, in order."""
        patterns = [re.compile(_translated(_nfc(one))) for one in self.splits[split]]
        return sorted(path for path in paths if any(one.match(_nfc(path)) for one in patterns))


def declared(readme: bytes, config: str) -> Declared | None:
    """The files that `configs:` declares for this configuration; None if it declares none.

    `default` is the one that is marked as such, if none has this name.
    """
    configs = _configs(readme)
    if config == "default" and config not in map(_name, configs):
        config = next((_name(one) for one in configs if one.get("default")), config)
    for one in configs:
        if _name(one) == config:
            folder = _folder(one.get("data_dir"))
            splits = _splits(one.get("data_files"), folder)
            return Declared(splits, folder) if splits or folder else None
    return None


def configurations(readme: bytes) -> list[str]:
    """The names of the configurations that have files, the default one first."""
    configs = [one for one in _configs(readme) if one.get("data_files") or one.get("data_dir")]
    configs.sort(key=lambda one: (not one.get("default"), _name(one) != "default"))
    return [_name(one) for one in configs]


def _nfc(text: str) -> str:
    """The name in one Unicode form, because systems write the same name in different forms."""
    return unicodedata.normalize("NFC", text)


def _name(config: dict[str, Any]) -> str:
    return str(config.get("config_name", "default"))


def _configs(readme: bytes) -> list[dict[str, Any]]:
    found = _FRONT.match(readme.decode("utf-8-sig", "replace").replace("\r\n", "\n"))
    try:
        card = yaml.safe_load(found[1]) if found else None
    except (yaml.YAMLError, ValueError, RecursionError):  # such as a date that does not exist
        return []
    configs = card.get("configs") if isinstance(card, dict) else None
    return [one for one in configs if isinstance(one, dict)] if isinstance(configs, list) else []


def _folder(declared: object) -> str:
    """The folder with a slash at its end; empty if it is the dataset's own."""
    parts = [part for part in str(declared or "").split("/") if part not in ("", ".")]
    return "".join(f"{part}/" for part in parts)


def _splits(files: Any, folder: str) -> dict[str, tuple[str, ...]]:
    """`data_files` as a pattern, a list of patterns, or a list or mapping of splits."""
    if isinstance(files, dict):
        files = [{"split": split, "path": path} for split, path in files.items()]
    if isinstance(files, str):
        files = [files]
    if not isinstance(files, list):
        return {}
    splits: dict[str, tuple[str, ...]] = {}
    for one in files:
        split, path = (
            (one.get("split") or "train", one.get("path"))
            if isinstance(one, dict)
            else ("train", one)
        )
        found = [path] if isinstance(path, str) else path if isinstance(path, list) else []
        patterns = tuple(folder + str(pattern).removeprefix("./") for pattern in found)
        splits[str(split)] = (*splits.get(str(split), ()), *patterns)
    return splits


def _translated(pattern: str) -> str:
    """A regular expression for the glob, where `*` stays within a folder and `**` does not."""
    pieces = []
    for piece in re.split(r"(\*\*/|\*\*)", pattern):
        if piece == "**/":
            pieces.append("(.*/)?")
        elif piece == "**":
            pieces.append(".*")
        else:
            one = translate(piece).removeprefix("(?s:").removesuffix(r")\Z")
            pieces.append(one.replace(".*", "[^/]*"))
    return "".join(pieces) + r"\Z"
