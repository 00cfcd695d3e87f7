"""What a dataset's card, its README.md, says about configurations, splits and files."""

import re
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

import yaml

_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Declared:
    """The patterns of one configuration's files, by split."""

    splits: dict[str, tuple[str, ...]]

    def files(self, paths: list[str], split: str) -> list[str]:
        """The paths of the split, in order."""
        patterns = [re.compile(_translated(pattern)) for pattern in self.splits[split]]
        return sorted(path for path in paths if any(one.match(path) for one in patterns))


def declared(readme: bytes, config: str) -> Declared | None:
    """What `configs:` says of this configuration; None if it says nothing of its files."""
    found = _FRONT.match(readme.decode("utf-8", "replace").replace("\r\n", "\n"))
    try:
        card = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return None
    configs = card.get("configs") if isinstance(card, dict) else None
    for one in configs if isinstance(configs, list) else ():
        if isinstance(one, dict) and one.get("config_name", "default") == config:
            splits = _splits(one.get("data_files"), str(one.get("data_dir") or ""))
            return Declared(splits) if splits else None
    return None


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
            (one.get("split"), one.get("path")) if isinstance(one, dict) else ("train", one)
        )
        found = [path] if isinstance(path, str) else path if isinstance(path, list) else []
        below = f"{folder.strip('/')}/" if folder.strip("/") else ""
        patterns = tuple(below + str(pattern).removeprefix("./") for pattern in found)
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
