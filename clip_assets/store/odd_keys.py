"""Lists keys that are not valid paths, which obstore cannot, with each cloud's own library."""

from collections.abc import Iterator

from clip_assets.errors import StoreError
from clip_assets.store import aws, azure, gcs


def keys(root: str, after: str) -> Iterator[aws.Key]:
    """All objects below `root` that are listed after the key `after`, including odd keys.

    Raises StoreError.
    """
    listing, extra = aws.keys, ""
    if gcs.is_gcs(root):
        listing, extra = gcs.keys, "gcs"
    elif azure.is_azure(root):
        listing, extra = azure.keys, "azure"
    try:
        yield from listing(root, after)
    except ImportError as error:
        raise StoreError(
            f"{root}: it has keys that are not valid paths. To list the others: "
            f"pip install 'clip-assets[{extra}]'"
        ) from error
    except Exception as error:  # of four libraries, which share no class
        raise StoreError(
            f"{root}: it has keys that are not valid paths, and listing them failed "
            f"({error}). Run again, or give a prefix without them."
        ) from error


def oddity(name: str) -> str:
    """What makes the key invalid as a path, in words; empty if it is valid."""
    segments = name.split("/")
    if "" in segments:
        return "an empty segment"
    if any(segment in (".", "..") for segment in segments):
        return "a segment `.` or `..`"
    return "a control character" if any(ord(c) < 32 or ord(c) == 127 for c in name) else ""
