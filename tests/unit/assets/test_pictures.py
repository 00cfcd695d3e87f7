"""What is shown in the Dagster UI is small; pictures are files beside the parquet."""

import base64
import io
import re
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from clip_assets.assets.pictures import pair_sheet, put_sheet, strip
from clip_assets.assets.rejects import reasons_table, rejected_images
from clip_assets.source import ImageRef
from clip_assets.source.config import FolderConfig
from clip_assets.store import parquet
from clip_assets.store.commit import Commit, put_part
from clip_assets.store.objects import Objects
from tests.conftest import picture
from tests.integration.support import Made

AT_MOST = 4_000
STRIP = 2_000


def test_rejects_are_shown_with_their_reasons(tmp_path: Path) -> None:
    """A truncated picture is shown as far as it goes; a page in its place only by its reason."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "cut.png").write_bytes(picture(1)[:-40])
    (images / "page.jpg").write_bytes(b"<html>not found</html>")
    reasons = {"cut.png": "truncated", "page.jpg": "not an image"}
    text, pictures = _told(tmp_path, reasons)
    assert len(pictures) == 1
    assert len(pictures[0].getcolors(100_000) or []) > 2
    for name, reason in reasons.items():
        assert f"| {name} | {reason} |" in text
    assert len(text) < AT_MOST


def test_rejects_are_told_when_the_source_is_gone(tmp_path: Path) -> None:
    """The reasons outlive the files."""
    text, pictures = _told(tmp_path, {"gone.png": "truncated"})
    assert pictures == []
    assert "| gone.png | truncated |" in text


@pytest.mark.parametrize("name", ["a|b.png", "![x](http://tracker/x.png)", "<img src=x>.png"])
def test_a_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    """No file's name ends a cell of the table, fetches anything, or becomes HTML."""
    row = _told(tmp_path, {name: "truncated"})[0].splitlines()[-1]
    assert row.replace("\\|", "").count("|") == 3
    assert "<" not in row
    assert not re.search(r"(?<!\\)\[", row)


def test_a_long_reason_is_cut(tmp_path: Path) -> None:
    """A decoder may say anything; an event is kept for good."""
    text, _ = _told(tmp_path, {f"{number}.png": "x" * 5_000 for number in range(40)})
    assert len(text) < AT_MOST
    assert "and 32 more, in `rejects.parquet`" in text


def test_an_event_has_a_strip_and_the_file_a_sheet(tmp_path: Path) -> None:
    """The strip takes about a kilobyte, whatever the shard's images are."""
    objects = Objects(str(tmp_path / "data"))
    pictures = [Image.open(io.BytesIO(picture(number))).convert("RGB") for number in range(16)]
    (shown,) = _pictures(strip(pictures))
    assert shown.size == (256, 32)
    assert len(strip(pictures)) < STRIP
    path = Path(put_sheet(objects, "sheet.jpg", pictures))
    assert Image.open(path).size == (8 * 88, 2 * 88)


def test_a_thumbnail_that_is_no_picture_costs_its_place_alone() -> None:
    """The other ones are shown."""
    (shown,) = _pictures(pair_sheet([(picture(1), b"no picture"), (b"", picture(2))]))
    white = (255, 255, 255)
    places = [shown.getpixel((x, 20)) != white for x in (20, 108, 208, 296)]
    assert places == [True, False, False, True]


def _told(folder: Path, reasons: dict[str, str]) -> tuple[str, list[Image.Image]]:
    objects = Objects(str(folder / "data"))
    source = FolderConfig(uri=str(folder / "images"))
    refs = [ImageRef(name, f"{folder}/images/{name}", "etag") for name in reasons]
    rows = [
        {"image_id": ref.image_id, "uri": ref.uri, "reason": reasons[ref.image_id]} for ref in refs
    ]
    commit = _commit(objects, rows)
    return reasons_table(objects, commit), rejected_images(objects, commit, refs, source)


def _commit(objects: Objects, rejected: list[dict[str, str]]) -> Commit:
    table = pa.Table.from_pylist(rejected, schema=parquet.REJECTS)
    part = put_part(objects, "rejects.parquet", table)
    made = Made(objects).add("00000", 4)
    return made.model_copy(update={"rejects": part, "rejected": len(rejected)})


def _pictures(text: str) -> list[Image.Image]:
    found = re.findall(r"!\[[^\]]*\]\(data:image/\w+;base64,([^)]+)\)", text)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]
