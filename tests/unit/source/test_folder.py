import os
import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    """Images in all subfolders are listed by relative path, sorted; other files are skipped."""
    names = ("b/2.JPG", "a.png", "b/10.tiff", "ü é.webp", "notes.md", ".hidden.jpg", "jpg")
    _written(tmp_path, dict.fromkeys(names, b"x"))
    assert _ids(tmp_path) == ["a.png", "b/10.tiff", "b/2.JPG", "ü é.webp"]


def test_a_relative_root_gives_absolute_uris(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """URIs do not depend on the working directory of the process that reads them."""
    _written(tmp_path / "images", {"a.jpg": b"x"})
    monkeypatch.chdir(tmp_path)
    (ref,) = open_source(FolderConfig(uri="images")).list()
    assert ref.uri == str(tmp_path.resolve() / "images/a.jpg")
    assert (ref.offset, ref.size, ref.row) == (None, None, None)


def test_only_the_configured_extensions_are_listed(tmp_path: Path) -> None:
    """Extensions match with or without a leading dot, in any case."""
    _written(tmp_path, {"a.jpg": b"x", "b.PNG": b"x"})
    source = open_source(FolderConfig(uri=str(tmp_path), extensions=("png",)))
    assert [ref.image_id for ref in source.list()] == ["b.PNG"]


def test_captions_come_from_sibling_text_files(tmp_path: Path) -> None:
    """The .txt of the same name is the caption, minus what Postgres rejects."""
    files = {"a.jpg": b"x", "a.txt": b" a cat\0 \xff\n", "b.jpg": b"x", "c.jpg": b"x", "c.txt": b""}
    source = open_source(FolderConfig(uri=str(_written(tmp_path, files))))
    assert [ref.caption for ref in source.list()] == ["a cat ÿ", None, None]


def test_a_caption_in_the_other_form_of_unicode_is_found(tmp_path: Path) -> None:
    """macOS writes é as two characters, other systems as one; the image keeps its own name."""
    names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    for folder, (image, text) in {"a": names, "b": names[::-1]}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{image}.jpg").write_bytes(b"x")
        (tmp_path / folder / f"{text}.txt").write_text("coffee")
    refs = list(open_source(FolderConfig(uri=str(tmp_path))).list())
    assert [ref.caption for ref in refs] == ["coffee", "coffee"]
    assert [ref.image_id for ref in refs] == [f"a/{names[0]}.jpg", f"b/{names[1]}.jpg"]


def test_etag_changes_with_the_file(tmp_path: Path) -> None:
    """A rewritten file gets a new etag; an untouched file keeps its etag."""
    _written(tmp_path, {"a.jpg": b"x", "b.jpg": b"x"})
    before = {ref.image_id: ref.etag for ref in open_source(FolderConfig(uri=str(tmp_path))).list()}
    _written(tmp_path, {"a.jpg": b"longer"})
    after = {ref.image_id: ref.etag for ref in open_source(FolderConfig(uri=str(tmp_path))).list()}
    assert before["a.jpg"] != after["a.jpg"]
    assert before["b.jpg"] == after["b.jpg"]


def test_images_are_read_in_the_requested_order(
    tmp_path: Path, jpeg: Callable[[str], bytes]
) -> None:
    """Reading ahead in threads does not change the order, even for more images than it buffers."""
    files = {f"{number:03d}.jpg": jpeg("red") + bytes([number]) for number in range(100)}
    source = open_source(FolderConfig(uri=str(_written(tmp_path, files))))
    refs = list(source.list())[::-1]
    assert list(source.read(refs)) == [files[ref.image_id] for ref in refs]


def test_an_unreadable_file_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    """A missing file, a dangling link and an oversized file each yield an error in their place."""
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


def test_a_vanished_folder_stops_the_read(tmp_path: Path) -> None:
    """If the whole folder is gone, reading raises instead of rejecting every image."""
    root = _written(tmp_path / "mount", {"a.jpg": b"x"})
    source = open_source(FolderConfig(uri=str(root)))
    refs = list(source.list())
    shutil.rmtree(root)
    with pytest.raises(SourceError, match=r"is gone\. Mount or restore it"):
        list(source.read(refs))


def test_images_catalogued_below_another_root_are_refused(tmp_path: Path) -> None:
    """The error asks for the catalog to be materialized again."""
    _written(tmp_path, {"old/a.jpg": b"x", "new/a.jpg": b"x"})
    refs = list(open_source(FolderConfig(uri=str(tmp_path / "old"))).list())
    with pytest.raises(SourceError, match="Materialize the catalog again"):
        list(open_source(FolderConfig(uri=str(tmp_path / "new"))).read(refs))


def test_an_empty_collection_is_refused(tmp_path: Path) -> None:
    """A folder without images is an error that says what was found instead."""
    _written(tmp_path, {"readme.md": b"x"})
    with pytest.raises(SourceError, match=r"No images in .*, only 1 text files\. Check the addr"):
        _ids(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """A path that does not exist is an error before any listing starts."""
    with pytest.raises(SourceError, match="is not a folder on this machine"):
        open_source(FolderConfig(uri=str(tmp_path / "nowhere")))


def test_an_unknown_scheme_is_refused() -> None:
    """A URI with an unsupported scheme is an error that names the supported ones."""
    with pytest.raises(StoreError, match=re.escape("use a folder, s3://, gs:// or az://")):
        open_source(FolderConfig(uri="ftp://host/images"))


def _faults(root: Path, **options: Any) -> dict[str, str | None]:
    source = open_source(FolderConfig(uri=str(root), **options))
    return {ref.image_id: ref.fault for ref in source.list()}


def test_a_name_that_is_not_utf8_costs_that_one_file(tmp_path: Path) -> None:
    """It is listed with a reason, and the others are listed as ever."""
    _written(tmp_path, {"a.jpg": b"x"})
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    assert _faults(tmp_path) == {
        "a.jpg": None, "caf\\xe9.jpg": "its name is not UTF-8; rename it",
    }  # fmt: skip


def test_what_is_no_regular_file_costs_itself_only(tmp_path: Path) -> None:
    """A named pipe and a link to itself have a fault; neither is waited for."""
    _written(tmp_path, {"a.jpg": b"x"})
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "socket")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    assert _faults(tmp_path) == {
        "a.jpg": None,
        "pipe.jpg": "it is not a regular file",
        "self.jpg": "it cannot be read (too many levels of symbolic links)",
    }


def test_a_file_replaced_by_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe that takes a file's place after the listing is an error, at once."""
    _written(tmp_path, {"a.jpg": b"x", "b.jpg": b"y"})
    source = open_source(FolderConfig(uri=str(tmp_path)))
    refs = list(source.list())
    (tmp_path / "a.jpg").unlink()
    os.mkfifo(tmp_path / "a.jpg")
    pipe, read = source.read(refs)
    assert (str(pipe), read) == ("not a regular file", b"y")


def test_a_folder_that_cannot_be_listed_costs_itself_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a row that stands for all below it; the other folders are listed."""
    _written(tmp_path, {"a/1.jpg": b"x", "b/1.jpg": b"x"})
    scan = os.scandir

    def refusing(path: Path) -> Any:
        if path == tmp_path / "a":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert _faults(tmp_path) == {
        "a/": "the folder cannot be listed (permission denied)", "b/1.jpg": None,
    }  # fmt: skip


def test_folders_behind_links_are_listed_by_choice_and_once(tmp_path: Path) -> None:
    """Without the setting they are counted; with it, loops and second ways change nothing."""
    _written(tmp_path, {"in/a.jpg": b"x", "nas/b.jpg": b"y", "nas/sub/c.jpg": b"z"})
    (tmp_path / "in/nas").symlink_to(tmp_path / "nas")
    (tmp_path / "in/again").symlink_to(tmp_path / "nas/sub")
    (tmp_path / "nas/loop").symlink_to(tmp_path / "in")
    source = open_source(FolderConfig(uri=str(tmp_path / "in")))
    assert [ref.image_id for ref in source.list()] == ["a.jpg"]
    assert source.skipped == {"links to folders (set `follow_links: true` to list them)": 2}
    source = open_source(FolderConfig(uri=str(tmp_path / "in"), follow_links=True))
    names = {Path(ref.image_id).name for ref in source.list()}
    assert names == {"a.jpg", "b.jpg", "c.jpg"}
    assert source.skipped["links to folders that are listed already"] == 2


def test_images_are_told_by_content_where_the_name_does_not(
    tmp_path: Path, jpeg: Callable[[str], bytes]
) -> None:
    """Formats that phones and browsers save, and files without a telling extension, are listed."""
    photo = jpeg("red")
    names = ("IMG_1.HEIC", "b.avif", "c.jp2", "d.jfif", "e.mpo", "f.jxl", "noextension", "g.photo")
    _written(tmp_path, dict.fromkeys(names, photo) | {"notes": b"words", "empty": b""})
    assert _ids(tmp_path) == sorted(names)


def test_what_is_skipped_is_counted_by_kind(tmp_path: Path) -> None:
    """Hidden files, folders of systems and other kinds of files are counted; captions are not."""
    names = ("a.jpg", "a.txt", "b.txt", "x.MP4", "raw.NEF", ".hidden.jpg", "@eaDir/a.jpg", "notes",
             "Thumbs.db")  # fmt: skip
    source = open_source(FolderConfig(uri=str(_written(tmp_path, dict.fromkeys(names, b"x")))))
    assert [ref.image_id for ref in source.list()] == ["a.jpg"]
    assert source.skipped == {
        "text files": 1, "videos": 1, "camera raw files": 1, "other files": 1,
        "hidden or system files and folders": 3,
    }  # fmt: skip


def test_a_caption_that_cannot_be_read_costs_itself_only(tmp_path: Path) -> None:
    """The image is listed without it, and it is counted."""
    _written(tmp_path, {"a.jpg": b"x", "a.txt": b"x" * (2 << 20), "b.jpg": b"x", "b.txt": b"b"})
    source = open_source(FolderConfig(uri=str(tmp_path)))
    assert [ref.caption for ref in source.list()] == [None, "b"]
    assert source.skipped == {"captions that cannot be read": 1}
