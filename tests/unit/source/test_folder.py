import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clip_assets.errors import SourceError, StoreError
from clip_assets.source.config import FolderConfig
from clip_assets.source.open import open_source


def _written(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def _ids(root: Path) -> list[str]:
    return [ref.image_id for ref in open_source(FolderConfig(uri=str(root))).list()]


def test_lists_images_by_path_in_a_stable_order(tmp_path: Path) -> None:
    """Images of every folder are listed by relative path, sorted, and nothing else is."""
    names = ("b/2.JPG", "a.png", "b/10.tiff", "ü é.webp", "notes.md", ".hidden.jpg", "jpg")
    _written(tmp_path, dict.fromkeys(names, b"x"))
    assert _ids(tmp_path) == ["a.png", "b/10.tiff", "b/2.JPG", "ü é.webp"]


def test_uris_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative root still gives URIs that any process can read."""
    _written(tmp_path / "images", {"a.jpg": b"x"})
    monkeypatch.chdir(tmp_path)
    (ref,) = open_source(FolderConfig(uri="images")).list()
    assert ref.uri == str(tmp_path.resolve() / "images/a.jpg")
    assert (ref.offset, ref.size, ref.row) == (None, None, None)


def test_extensions_are_those_of_the_config(tmp_path: Path) -> None:
    """Only the extensions asked for are images, with or without their dot, in either case."""
    _written(tmp_path, {"a.jpg": b"x", "b.PNG": b"x"})
    source = open_source(FolderConfig(uri=str(tmp_path), extensions=("png",)))
    assert [ref.image_id for ref in source.list()] == ["b.PNG"]


def test_captions_come_from_sibling_text_files(tmp_path: Path) -> None:
    """A .txt of the same name is the caption, without what UTF-8 and Postgres refuse."""
    files = {"a.jpg": b"x", "a.txt": b" a cat\0 \xff\n", "b.jpg": b"x", "c.jpg": b"x", "c.txt": b""}
    source = open_source(FolderConfig(uri=str(_written(tmp_path, files))))
    assert [ref.caption for ref in source.list()] == ["a cat \N{REPLACEMENT CHARACTER}", None, None]


def test_etag_changes_with_the_file(tmp_path: Path) -> None:
    """A rewritten file has another etag; an untouched one keeps it."""
    _written(tmp_path, {"a.jpg": b"x", "b.jpg": b"x"})
    before = {ref.image_id: ref.etag for ref in open_source(FolderConfig(uri=str(tmp_path))).list()}
    _written(tmp_path, {"a.jpg": b"longer"})
    after = {ref.image_id: ref.etag for ref in open_source(FolderConfig(uri=str(tmp_path))).list()}
    assert before["a.jpg"] != after["a.jpg"]
    assert before["b.jpg"] == after["b.jpg"]


def test_reads_in_the_order_asked_for(tmp_path: Path, jpeg: Callable[[str], bytes]) -> None:
    """Read-ahead by threads does not change the order, beyond its own depth either."""
    files = {f"{number:03d}.jpg": jpeg("red") + bytes([number]) for number in range(100)}
    source = open_source(FolderConfig(uri=str(_written(tmp_path, files))))
    refs = list(source.list())[::-1]
    assert list(source.read(refs)) == [files[ref.image_id] for ref in refs]


def test_an_unreadable_file_is_an_error_in_its_place(tmp_path: Path) -> None:
    """A missing, a dangling and a far too large file are each reported; the others are read."""
    _written(tmp_path, dict.fromkeys(("a.jpg", "b.jpg", "d.jpg"), b"x"))
    (tmp_path / "c.jpg").symlink_to("nowhere")
    os.truncate(tmp_path / "d.jpg", 1 << 30)
    source = open_source(FolderConfig(uri=str(tmp_path)))
    refs = list(source.list())
    (tmp_path / "a.jpg").unlink()
    gone, read, dangling, large = source.read(refs)
    assert read == b"x"
    assert [str(gone), str(dangling)] == ["no such file"] * 2
    assert str(large) == "file too large (1024 MiB, at most 256)"
    assert all(isinstance(error, OSError) for error in (gone, dangling, large))


def test_a_vanished_folder_is_no_reject(tmp_path: Path) -> None:
    """When the whole collection is gone, reading stops instead of rejecting every image."""
    root = _written(tmp_path / "mount", {"a.jpg": b"x"})
    source = open_source(FolderConfig(uri=str(root)))
    refs = list(source.list())
    shutil.rmtree(root)
    with pytest.raises(SourceError, match=r"is gone\. Mount or restore it"):
        list(source.read(refs))


def test_a_moved_collection_asks_for_a_new_catalog(tmp_path: Path) -> None:
    """References made below another root are refused with the remedy."""
    _written(tmp_path, {"old/a.jpg": b"x", "new/a.jpg": b"x"})
    refs = list(open_source(FolderConfig(uri=str(tmp_path / "old"))).list())
    with pytest.raises(SourceError, match="Materialize the catalog again"):
        list(open_source(FolderConfig(uri=str(tmp_path / "new"))).read(refs))


def test_an_empty_collection_is_refused(tmp_path: Path) -> None:
    """A folder without images is an error that says what was looked for."""
    _written(tmp_path, {"readme.md": b"x"})
    with pytest.raises(SourceError, match=r"No images in .* \(\.jpg, .*Check the address"):
        _ids(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """A path that does not exist is an error at once, before any listing."""
    with pytest.raises(SourceError, match="is not a folder on this machine"):
        open_source(FolderConfig(uri=str(tmp_path / "nowhere")))


def test_an_unknown_scheme_is_refused() -> None:
    """A URI of a kind that nobody here reads names the kinds that are read."""
    with pytest.raises(StoreError, match=re.escape("use a folder, s3://, gs:// or az://")):
        open_source(FolderConfig(uri="ftp://host/images"))


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """A file whose name cannot be an id is named, not lost and not a crash in parquet."""
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    with pytest.raises(SourceError, match="no usable id"):
        _ids(tmp_path)
