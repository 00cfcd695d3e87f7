"""Contact sheets of thumbnails for the Dagster UI."""

import base64
import io
from collections.abc import Sequence

from PIL import Image

from clip_assets.store import commit as commits
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects

_SIDE = 88
_COLUMNS, _ROWS = 8, 2
AT_MOST = _COLUMNS * _ROWS


def contact_sheet(objects: Objects, commit: Commit) -> str:
    """Markdown with a small JPEG of thumbnails, sampled evenly from the shard's first part."""
    table = commits.read_part(objects, commit.parts[0], ["thumbnail"])
    if not len(table):
        return "_no image was embedded_"
    step = max(1, len(table) // AT_MOST)
    thumbnails = [data for data in table.column("thumbnail").to_pylist() if data][::step][:AT_MOST]
    if not thumbnails:
        return "_the collection has no thumbnails_"
    return sheet([Image.open(io.BytesIO(data)) for data in thumbnails])


def sheet(pictures: Sequence[Image.Image]) -> str:
    """Markdown with the pictures in a grid."""
    rows = -(-len(pictures) // _COLUMNS)
    ground = Image.new("RGB", (min(len(pictures), _COLUMNS) * _SIDE, rows * _SIDE), "white")
    for number, picture in enumerate(pictures):
        picture.thumbnail((_SIDE - 4, _SIDE - 4))
        row, column = divmod(number, _COLUMNS)
        ground.paste(picture, (column * _SIDE + 2, row * _SIDE + 2))
    return embedded(ground, "JPEG", "pictures")


def pair_sheet(pairs: Sequence[tuple[bytes, bytes]]) -> str:
    """Markdown with a small JPEG that shows each pair of thumbnails side by side."""
    if not pairs:
        return "_none_"
    across = _COLUMNS // 2
    rows = -(-len(pairs) // across)
    ground = Image.new("RGB", (across * (2 * _SIDE + 12), rows * _SIDE), "white")
    for number, pair in enumerate(pairs):
        row, column = divmod(number, across)
        for place, data in enumerate(pair):
            picture = Image.open(io.BytesIO(data))
            picture.thumbnail((_SIDE - 4, _SIDE - 4))
            left = column * (2 * _SIDE + 12) + place * _SIDE + 2
            ground.paste(picture, (left, row * _SIDE + 2))
    return embedded(ground, "JPEG", "pairs")


def embedded(picture: Image.Image, kind: str, name: str) -> str:
    """Markdown with the picture as a data URL: Dagster's UI loads no external images."""
    file = io.BytesIO()
    picture.save(file, kind, quality=80, optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    return f"![{name}](data:image/{kind.lower()};base64,{data})"
