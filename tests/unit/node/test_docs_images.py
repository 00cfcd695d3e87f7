"""docs/images.md says what happens to which file; these tests try each line."""

import bz2
import gzip
import io
import lzma
import os
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clip_assets import catalog
from clip_assets.node.decode import Rejected, decode, pipeline_limits
from clip_assets.source import DamagedError, ImageRef, SourceConfig
from clip_assets.source.config import FolderConfig, HuggingFaceConfig, WebDatasetConfig
from clip_assets.source.open import open_source
from clip_assets.store.objects import Objects
from tests.faults import hostile
from tests.unit.node.test_tiff import FLOAT, GREY, RGB, tiff

PAGE = Path(__file__).parents[3] / "docs/images.md"
ROW = re.compile(r"^\| (.+) \| \*\*(embedded|rejected|skipped|read again)\*\*.*\|$", re.MULTILINE)
Case = Callable[[Path], object]


def _photo(kind: str = "JPEG", size: tuple[int, int] = (64, 64)) -> bytes:
    blocks = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


PHOTO = _photo(size=(640, 640))


def _files(*names: str, data: bytes | None = None) -> Case:
    def write(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(_photo() if data is None else data)

    return write


def _formats(**names: str) -> Case:
    def write(folder: Path) -> None:
        for kind, name in names.items():
            (folder / name).write_bytes(_photo(kind))

    return write


def _tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return file.getvalue()


def _twice(folder: Path) -> None:
    first = _tar({"a.jpg": _photo()})
    (folder / "x.tar").write_bytes(first + _tar({"a.JPG": _photo()}))


def _pipes(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    (folder / "self.jpg").symlink_to("self.jpg")


def _linked(folder: Path) -> None:
    (folder.parent / "nas").mkdir()
    _files("b.jpg")(folder.parent / "nas")
    (folder / "nas").symlink_to(folder.parent / "nas")


def _large(folder: Path) -> None:
    _files("a.jpg")(folder)
    os.truncate(folder / "a.jpg", 129 << 20)


def _parquet(folder: Path, name: str, ids: list[str | None], *, empty: bool = False) -> None:
    data = pa.array([None if empty else _photo()] * len(ids), pa.binary())
    pq.write_table(pa.table({"image": data, "id": pa.array(ids, pa.string())}), folder / name)


def _lists(folder: Path, images: list[list[bytes]]) -> None:
    data = pa.array(images, pa.list_(pa.binary()))
    names = [str(number) for number in range(len(images))]
    pq.write_table(pa.table({"image": data, "id": names}), folder / "lists.parquet")


def _card(folder: Path) -> None:
    _parquet(folder, "b.parquet", ["b"])
    files = "data_files:\n  - split: train\n    path: good*\n  - split: test\n    path: b.*"
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  {files}\n---\n")


def _incomplete(folder: Path) -> None:
    (folder / "good.parquet").unlink()
    _parquet(folder, "train-00000-of-00002.parquet", ["a"])


def _compressed(folder: Path) -> None:
    plain = _tar({"a.jpg": _photo()})
    (folder / "a.tar.gz").write_bytes(gzip.compress(plain))
    (folder / "b.tgz").write_bytes(gzip.compress(plain))
    (folder / "c.tar.bz2").write_bytes(bz2.compress(plain))
    (folder / "d.tar.xz").write_bytes(lzma.compress(plain))
    with pa.CompressedOutputStream(pa.OSFile(str(folder / "e.tar.zst"), "wb"), "zstd") as stream:
        stream.write(plain)


def _sparse(folder: Path) -> None:
    with (folder / "holes.jpg").open("wb") as file:
        file.write(PHOTO)
        file.truncate(1 << 20)
    command = ["tar", "--sparse", "--format=gnu", "-cf", "x.tar", "holes.jpg"]
    subprocess.run(command, cwd=folder, check=True)
    (folder / "holes.jpg").unlink()


def _tiffs(folder: Path) -> None:
    (folder / "a.tif").write_bytes(tiff(np.zeros((8, 8), np.float64), GREY, kind=[FLOAT]))
    (folder / "b.tif").write_bytes(tiff(np.zeros((8, 8, 3), np.float32), RGB, kind=[FLOAT] * 3))
    (folder / "c.tif").write_bytes(tiff([np.zeros((8, 8), np.uint16)] * 3, RGB))


FOLDER: dict[str, Case] = {
    "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000": _formats(
        JPEG="a.JPG", PNG="b.png", WEBP="c.webp", GIF="d.gif", BMP="e.bmp", TIFF="f.tif",
        AVIF="g.avif", JPEG2000="h.jp2",
    ),
    "HEIC photos": _formats(HEIF="IMG_0001.HEIC"),
    "JPEG XL": _formats(JXL="a.jxl"),
    "an image without an extension, or with an unknown one": _files("a", "b.photo"),
    "an image with the extension of another format": _formats(PNG="a.jpg", AVIF="b.png"),
    "a text file beside an image, named like it": _files("good.txt", data=b"a cat"),
    "videos, camera raw files, SVG, other text files, archives": _files(
        "a.mp4", "b.CR2", "c.svg", "d.md", "e.zip"
    ),
    "tables, unless `columns` or `captions` use them ([columns.md](columns.md))": _files(
        "captions.csv", "metadata.parquet"
    ),
    "hidden files, `@eaDir`, `__MACOSX`, `Thumbs.db`": _files(
        ".a.jpg", "@eaDir/a.jpg", "__MACOSX/a.jpg", "Thumbs.db"
    ),
    "an empty file named like an image": _files("a.jpg", data=b""),
    "an HTML page named like an image": _files("a.jpg", data=b"<html>"),
    "half of a JPEG": _files("a.jpg", data=PHOTO[: len(PHOTO) // 2]),
    "a JPEG that lacks its last bytes": _files("a.jpg", data=PHOTO[:-9]),
    "a PNG whose data ends early": _files("a.png", data=hostile.png(500, 500, rows=1)),
    "a file larger than 128 MiB": _large,
    "a JPEG of over 100 megapixels": _files("a.jpg", data=_photo(size=(1000, 1200))),
    "another image of over 100 megapixels": _files("a.png", data=_photo("PNG", size=(1000, 1200))),
    "a file whose name is not UTF-8": _files(os.fsdecode(b"caf\xe9.jpg")),
    "a file whose path is longer than 2,600 bytes": _files(
        "/".join(["d" * 250] * 11 + ["a.jpg"])
    ),
    "a TIFF with samples of 64 bits, RGB in floats, or uncompressed planes of 16 bits": _tiffs,
    "a named pipe or a link to itself": _pipes,
    "a link whose target is missing now": lambda folder: (folder / "a.jpg").symlink_to("nowhere"),
    "a file removed after the listing": _files("gone.jpg"),
    "photos behind a link to a folder": _linked,
}  # fmt: skip
TAR: dict[str, Case] = {
    "members of `cat a.tar b.tar`": _files(
        "x.tar", data=_tar({"a.jpg": _photo()}) + _tar({"b.jpg": _photo()})
    ),
    "a symbolic or hard link to a member": _files(
        "x.tar", data=_tar({"a.jpg": _photo()}, {"b.jpg": "a.jpg"})
    ),
    "a link to a member that does not exist": _files(
        "x.tar", data=_tar({}, {"b.jpg": "nowhere.jpg"})
    ),
    "the same name twice, or `a.jpg` and `a.JPG`": _twice,
    "a member before the point where a tar is cut off": _files(
        "x.tar", data=_tar({"a.jpg": _photo("GIF"), "b.jpg": _photo()})[:6000]
    ),
    "the rest of a tar that is cut off, empty or damaged": _files("x.tar", data=b""),
    "a `.tar.gz`, `.tgz`, `.tar.bz2`, `.tar.xz` or `.tar.zst`": _compressed,
    "a compressed tar that is damaged": _files("x.tar.gz", data=b"packed"),
    "a member stored as a sparse file": _sparse,
}


def _naming(folder: Path) -> None:
    (folder / "b.jpg").write_bytes(_photo())
    pq.write_table(pa.table({"image": ["b.jpg"], "id": ["b"]}), folder / "b.parquet")


PARQUET: dict[str, Case] = {
    "a row with a list of images": lambda folder: _lists(folder, [[_photo()] * 2]),
    "a row with an empty list": lambda folder: _lists(folder, [[]]),
    "a row that names a file of the dataset instead of image bytes": _naming,
    "a row without image bytes, and without the name of a file of the dataset": lambda folder: (
        _parquet(folder, "b.parquet", ["b"], empty=True)
    ),
    "a row without an id, or with the id of an earlier row": lambda folder: _parquet(
        folder, "x.parquet", [None, "a"]
    ),
    "a file that is not parquet, beside others": _files("b.parquet", data=b"<html>"),
    "a missing file of a series such as `train-00000-of-00002`": _incomplete,
    "files that README.md declares as another split": _card,
}


def _outcome(source: SourceConfig, ref: ImageRef) -> str:
    if ref.fault:
        return "rejected"
    (data,) = open_source(source).read([ref])
    if isinstance(data, DamagedError):
        return "rejected"
    if isinstance(data, OSError):
        return "read again"
    try:
        decode(data, pipeline_limits(1))
    except Rejected:
        return "rejected"
    return "embedded"


def _source(line: str, folder: Path) -> SourceConfig:
    """The folder as a source, with a good image beside the case's own files."""
    folder.mkdir()
    if line in FOLDER:
        _files("good.jpg")(folder)
        FOLDER[line](folder)
        return FolderConfig(uri=str(folder))
    if line in TAR:
        (folder / "good.tar").write_bytes(_tar({"good.jpg": _photo()}))
        TAR[line](folder)
        return WebDatasetConfig(type="webdataset", uri=str(folder))
    _parquet(folder, "good.parquet", ["a"])
    PARQUET[line](folder)
    return HuggingFaceConfig(type="huggingface", dataset=str(folder), id_column="id")


def test_the_page_has_the_lines_that_are_tried() -> None:
    """Every line of the tables has a case here, and every case has a line."""
    assert {line for line, _ in ROW.findall(PAGE.read_text())} == {*FOLDER, *TAR, *PARQUET}


@pytest.mark.parametrize(("line", "said"), ROW.findall(PAGE.read_text()))
def test_what_the_page_says_happens(line: str, said: str, tmp_path: Path) -> None:
    """Each image of the line ends as the page says, and the good one beside it is embedded."""
    source = _source(line, tmp_path / "in")
    head = catalog.refresh(
        Objects(str(tmp_path / "data")), "photos", source, open_source(source).list(), 100
    )
    rows = catalog.read_shard(Objects(str(tmp_path / "data")), head.shards[0].at)
    (tmp_path / "in/gone.jpg").unlink(missing_ok=True)
    good, *others = sorted(
        catalog.live_refs(rows), key=lambda ref: (Path(ref.uri).stem != "good", ref.image_id)
    )
    assert _outcome(source, good) == "embedded"
    found = [_outcome(source, ref) for ref in others]
    if line == "the same name twice, or `a.jpg` and `a.JPG`":
        assert found == ["embedded", "rejected"]
    elif line == "a member before the point where a tar is cut off":
        assert found == ["rejected", "embedded", "rejected"]
    else:
        assert set(found) == ({said} if said != "skipped" else set())
