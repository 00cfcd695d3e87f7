"""Addresses with braces and wildcards, as WebDataset and shells write them."""

import re

_MOST = 1_000_000  # paths
_SPECIAL = re.compile(r"[*?{]")


def split(address: str) -> tuple[str, str]:
    """The folder that contains everything the address names, and the pattern below it.

    The pattern is empty if the address has neither braces nor wildcards.
    """
    special = _SPECIAL.search(address)
    if special is None:
        return address, ""
    slash = address.rfind("/", 0, special.start())
    return address[: max(slash, 0)] or ("/" if slash == 0 else "."), address[slash + 1 :]


def matcher(pattern: str) -> re.Pattern[str]:
    """Matches the paths that the pattern names: `{000..010}`, `{train,val}`, `*`, `**` and `?`."""
    return re.compile("".join(_pieces(pattern)) + r"\Z")


def named(pattern: str) -> list[str]:
    """The paths that a pattern without wildcards names; none if it has some, or names too many."""
    found = [""]
    for piece in re.split(r"(\{[^{}]*\})", pattern):
        braces = piece.startswith("{") and piece.endswith("}")
        options = _options(piece[1:-1]) if braces else [piece]
        if re.search(r"[*?]", piece) or len(found) * len(options) > _MOST:
            return []
        found = [start + option for start in found for option in options]
    return found


def _pieces(pattern: str) -> "list[str]":
    found = []
    for piece in re.split(r"(\{[^{}]*\}|\*\*/?|\*|\?)", pattern):
        if piece.startswith("{") and piece.endswith("}"):
            found.append(_braces(piece[1:-1]))
        elif piece == "**/":
            found.append("(?:.*/)?")
        elif piece == "**":
            found.append(".*")
        elif piece == "*":
            found.append("[^/]*")
        elif piece == "?":
            found.append("[^/]")
        else:
            found.append(re.escape(piece))
    return found


def _braces(inside: str) -> str:
    return f"(?:{'|'.join(map(re.escape, _options(inside)))})"


def _options(inside: str) -> list[str]:
    first, dots, last = inside.partition("..")
    if dots and first.isdecimal() and last.isdecimal():
        width = len(first) if first.startswith("0") else 0
        return [str(number).zfill(width) for number in range(int(first), int(last) + 1)]
    return inside.split(",")
