"""A shard's rejects for the Dagster UI: the reasons, and the images that can be displayed."""

import io
from collections.abc import Iterator

from PIL import Image, ImageFile

from clip_assets.assets.pictures import AT_MOST, sheet
from clip_assets.errors import ClipAssetsError
from clip_assets.node.decode import QUERY, readable_formats
from clip_assets.source import ImageRef, SourceConfig
from clip_assets.source.open import open_source
from clip_assets.store import commit as commits
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects


def rejects_sheet(
    objects: Objects, commit: Commit, refs: list[ImageRef], source: SourceConfig
) -> str:
    """Markdown: a sheet of the rejects that can be displayed, and a table of reasons.

    `refs` are the shard's images; only those that fit on the sheet are read from the source again.
    """
    rejected = commits.read_part(objects, commit.rejects).slice(0, AT_MOST).to_pylist()
    names = {row["image_id"] for row in rejected}
    pictures = list(_visible([ref for ref in refs if ref.image_id in names], source))
    rows = "\n".join(f"| {_cell(row['image_id'])} | {_cell(row['reason'])} |" for row in rejected)
    more = commit.rejected - len(rejected)
    return "\n\n".join(
        [
            *([sheet(pictures)] if pictures else []),
            f"| image | reason |\n|---|---|\n{rows}",
            *([f"and {more} more, in `{commit.rejects.path}`"] if more else []),
        ]
    )


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
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;").replace("[", "\\[")
