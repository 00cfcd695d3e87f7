"""Pictures for the Dagster UI: a shard is looked at sooner than read about."""

import base64
import io

from PIL import Image

from clip_assets.store import commit as commits
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects

_SIDE = 88
_COLUMNS, _ROWS = 8, 2


def contact_sheet(objects: Objects, commit: Commit) -> str:
    """Markdown with one small JPEG of thumbnails spread over the shard's first part."""
    table = commits.read_part(objects, commit.parts[0], ["thumbnail"])
    if not len(table):
        return "_no image was embedded_"
    step = max(1, len(table) // (_COLUMNS * _ROWS))
    thumbnails = table.column("thumbnail").to_pylist()[::step][: _COLUMNS * _ROWS]
    sheet = Image.new("RGB", (_COLUMNS * _SIDE, _ROWS * _SIDE), "white")
    for number, data in enumerate(thumbnails):
        picture = Image.open(io.BytesIO(data))
        picture.thumbnail((_SIDE - 4, _SIDE - 4))
        row, column = divmod(number, _COLUMNS)
        sheet.paste(picture, (column * _SIDE + 2, row * _SIDE + 2))
    return _markdown(sheet)


def _markdown(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return f"![pictures](data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()})"
