"""A shard's rejects: the reasons for the Dagster UI, and the images that can be displayed."""

import io
from collections.abc import Iterator

from PIL import Image, ImageFile

from clip_assets.assets.pictures import AT_MOST
from clip_assets.errors import ClipAssetsError
from clip_assets.node.decode import QUERY, readable_formats
from clip_assets.source import ImageRef, SourceConfig
from clip_assets.source.open import open_source
from clip_assets.store import commit as commits
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects

_REASONS = 8
_LONGEST = 120


def reasons_table(objects: Objects, commit: Commit) -> str:
    """Markdown: a table of the first rejects with their reasons."""
    rejected = commits.read_part(objects, commit.rejects).slice(0, _REASONS).to_pylist()
    rows = "\n".join(f"| {_cell(row['image_id'])} | {_cell(row['reason'])} |" for row in rejected)
    more = commit.rejected - len(rejected)
    table = f"| image | reason |\n|---|---|\n{rows}"
    return f"{table}\n\nand {more} more, in `{commit.rejects.path}`" if more else table


def rejected_images(
    objects: Objects, commit: Commit, refs: list[ImageRef], source: SourceConfig
) -> list[Image.Image]:
    """The first rejects, as far as they can be displayed; read from the source again.

    `refs` are the shard's images.
    """
    rejected = commits.read_part(objects, commit.rejects).slice(0, AT_MOST).to_pylist()
    names = {row["image_id"] for row in rejected}
    return list(_visible([ref for ref in refs if ref.image_id in names], source))


def _visible(refs: list[ImageRef], source: SourceConfig) -> Iterator[Image.Image]:
    try:
        for data in open_source(source).read(refs):
            picture = _decoded(data) if isinstance(data, bytes) else None
            if picture:
                yield picture
    except ClipAssetsError:  # the source is unavailable; the reasons are still shown
        return


def _decoded(data: bytes) -> Image.Image | None:
    """The decoded image, or the upper part if the file is truncated, to show what is wrong.

    Uses the limits for untrusted query images.
    """
    if len(data) > QUERY.max_bytes:
        return None
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        picture = Image.open(io.BytesIO(data), formats=readable_formats(QUERY))
        if picture.width * picture.height > QUERY.max_pixels:
            return None
        return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _cell(text: str) -> str:
    """Escape characters that would end the table cell or start an image or HTML tag."""
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;").replace("[", "\\[")
