"""What is shown in the Dagster UI: pictures that carry themselves, small enough for an event."""

import base64
import io
import re
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from clip_assets.assets.rejects import rejects_sheet
from clip_assets.source import ImageRef
from clip_assets.source.config import FolderConfig
from clip_assets.store import parquet
from clip_assets.store.commit import Commit, put_part
from clip_assets.store.objects import Objects
from tests.conftest import picture
from tests.integration.support import Made

AT_MOST = 200_000


def test_rejects_are_shown_with_their_reasons(tmp_path: Path) -> None:
    """A truncated picture is shown as far as it goes; a page in its place only by its reason."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "cut.png").write_bytes(picture(1)[:-40])
    (images / "page.jpg").write_bytes(b"<html>not found</html>")
    reasons = {"cut.png": "truncated", "page.jpg": "not an image"}
    text = _sheet(tmp_path, reasons)
    (sheet,) = _pictures(text)
    assert sheet.width < 100
    assert len(sheet.convert("RGB").getcolors(100_000) or []) > 2
    for name, reason in reasons.items():
        assert f"| {name} | {reason} |" in text
    assert len(text) < AT_MOST


def test_rejects_are_told_when_the_source_is_gone(tmp_path: Path) -> None:
    """The reasons outlive the files."""
    text = _sheet(tmp_path, {"gone.png": "truncated"})
    assert _pictures(text) == []
    assert "| gone.png | truncated |" in text


@pytest.mark.parametrize("name", ["a|b.png", "![x](http://tracker/x.png)", "<img src=x>.png"])
def test_a_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    """No file's name ends a cell of the table, fetches anything, or becomes HTML."""
    row = _sheet(tmp_path, {name: "truncated"}).splitlines()[-1]
    assert row.replace("\\|", "").count("|") == 3
    assert "<" not in row
    assert not re.search(r"(?<!\\)\[", row)


def _sheet(folder: Path, reasons: dict[str, str]) -> str:
    objects = Objects(str(folder / "data"))
    source = FolderConfig(uri=str(folder / "images"))
    refs = [ImageRef(name, f"{folder}/images/{name}", "etag") for name in reasons]
    rows = [
        {"image_id": ref.image_id, "uri": ref.uri, "reason": reasons[ref.image_id]} for ref in refs
    ]
    return rejects_sheet(objects, _commit(objects, rows), refs, source)


def _commit(objects: Objects, rejected: list[dict[str, str]]) -> Commit:
    table = pa.Table.from_pylist(rejected, schema=parquet.REJECTS)
    part = put_part(objects, "rejects.parquet", table)
    made = Made(objects).add("00000", 4)
    return made.model_copy(update={"rejects": part, "rejected": len(rejected)})


def _pictures(text: str) -> list[Image.Image]:
    found = re.findall(r"!\[[^\]]*\]\(data:image/\w+;base64,([^)]+)\)", text)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]
