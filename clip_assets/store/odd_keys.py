"""Lists what obstore cannot: keys that are no usable paths, by each cloud's own library."""

from collections.abc import Iterator

from clip_assets.errors import StoreError
from clip_assets.store import aws, azure, gcs


def keys(root: str, after: str) -> Iterator[aws.Key]:
    """Each object below `root` that is listed after the key `after`, also those with odd keys.

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
            f"{root}: it has keys that are no usable paths. To have the others listed: "
            f"pip install 'clip-assets[{extra}]'"
        ) from error
    except Exception as error:  # of four libraries, which share no class
        raise StoreError(
            f"{root}: it has keys that are no usable paths, and listing them failed "
            f"({error}). Run again, or give a prefix without them."
        ) from error


def oddity(name: str) -> str:
    """What makes the key unusable as a path, in words; empty if nothing does."""
    segments = name.split("/")
    if "" in segments:
        return "an empty segment"
    if any(segment in (".", "..") for segment in segments):
        return "a segment `.` or `..`"
    return "a control character" if any(ord(c) < 32 or ord(c) == 127 for c in name) else ""
