"""Contact sheets of thumbnails: a file beside the parquet, and a small strip for the Dagster UI.

Dagster keeps each event forever, twice in sqlite, so an event only has a small strip.
"""

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
_STRIP_SIDE, _STRIP_QUALITY = 32, 30


def sample(objects: Objects, commit: Commit) -> list[Image.Image]:
    """Thumbnails, sampled evenly from the shard's first part; at most `AT_MOST`."""
    table = commits.read_part(objects, commit.parts[0], ["thumbnail"])
    step = max(1, len(table) // AT_MOST)
    thumbnails = [data for data in table.column("thumbnail").to_pylist() if data][::step][:AT_MOST]
    return [picture for data in thumbnails if (picture := _opened(data))]


def strip(pictures: Sequence[Image.Image]) -> str:
    """Markdown with the first pictures in one row, about 1 KB; the UI loads no external images."""
    if not pictures:
        return "_no image was embedded_"
    row = _grid(pictures[:_COLUMNS], _STRIP_SIDE)
    return embedded(row, "WEBP", "pictures", _STRIP_QUALITY)


def put_sheet(objects: Objects, path: str, pictures: Sequence[Image.Image]) -> str:
    """Write the pictures as one JPEG; returns its URI."""
    file = io.BytesIO()
    _grid(pictures, _SIDE).save(file, "JPEG", quality=80, optimize=True)
    objects.put(path, file.getvalue())
    return objects.uri(path)


def _grid(pictures: Sequence[Image.Image], side: int) -> Image.Image:
    rows = -(-len(pictures) // _COLUMNS)
    ground = Image.new("RGB", (min(len(pictures), _COLUMNS) * side, rows * side), "white")
    for number, picture in enumerate(pictures):
        small = picture.copy()
        small.thumbnail((side - 4, side - 4))
        row, column = divmod(number, _COLUMNS)
        ground.paste(small, (column * side + 2, row * side + 2))
    return ground


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
            picture = _opened(data)
            if picture is None:
                continue
            picture.thumbnail((_SIDE - 4, _SIDE - 4))
            left = column * (2 * _SIDE + 12) + place * _SIDE + 2
            ground.paste(picture, (left, row * _SIDE + 2))
    return embedded(ground, "JPEG", "pairs")


def _opened(thumbnail: bytes) -> Image.Image | None:
    """The picture, or None if it cannot be decoded: then the sheet omits it and nothing fails."""
    try:
        return Image.open(io.BytesIO(thumbnail)).convert("RGB")
    except (OSError, SyntaxError, ValueError):
        return None


def embedded(picture: Image.Image, kind: str, name: str, quality: int = 80) -> str:
    """Markdown with the picture as a data URL: Dagster's UI loads no external images."""
    file = io.BytesIO()
    picture.save(file, kind, quality=quality, optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    return f"![{name}](data:image/{kind.lower()};base64,{data})"
