"""Addresses of datasets on the Hugging Face hub."""

import re

from clip_assets.errors import SourceError

_ADDRESS = re.compile(r"hf://datasets/([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.*))?")


def hub_address(uri: str) -> tuple[str, str, str]:
    """Dataset, revision and folder of `hf://datasets/org/name[@revision][/folder]`.

    A `/` in the revision is written `%2F`. Raises SourceError.
    """
    found = _ADDRESS.fullmatch(uri.rstrip("/"))
    if not found:
        raise SourceError(f"{uri} is not an address of the form hf://datasets/org/name/folder.")
    return found[1], (found[2] or "main").replace("%2F", "/"), found[3] or ""
