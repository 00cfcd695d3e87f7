import gzip
import io
import json
import os
import tarfile
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from clip_assets.errors import SourceError
from clip_assets.settings import Settings
from clip_assets.source import ImageRef, Source, webdataset
from clip_assets.source.config import WebDatasetConfig
from clip_assets.source.open import open_source

WriteTar = Callable[[Path, dict[str, bytes]], Path]


def _source(root: Path) -> Source:
    return open_source(WebDatasetConfig(type="webdataset", uri=str(root)))


def _listed(root: Path) -> list[ImageRef]:
    return list(_source(root).list())


def test_images_are_named_by_tar_and_key(tmp_path: Path, write_tar: WriteTar) -> None:
    """Tars are listed in path order, members in stored order; captions are not images."""
    write_tar(tmp_path / "b.tar", {"0002.jpg": b"b2", "0001.PNG": b"b1", "0001.txt": b"one"})
    write_tar(tmp_path / "sub/a.tar", {"./x/0.v1.jpg": b"a", "._0.jpg": b"apple", "readme": b"r"})
    refs = _listed(tmp_path)
    assert [ref.image_id for ref in refs] == ["b/0002", "b/0001", "sub/a/x/0"]
    assert [ref.caption for ref in refs] == [None, "one", None]
    assert refs[2].uri == str(tmp_path.resolve() / "sub/a.tar")


def test_a_caption_in_the_other_form_of_unicode_is_found(
    tmp_path: Path, write_tar: WriteTar
) -> None:
    """macOS writes é as two characters, other systems as one; the image keeps its own name."""
    names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    for tar, (image, text) in {"a": names, "b": names[::-1]}.items():
        write_tar(tmp_path / f"{tar}.tar", {f"{image}.jpg": b"x", f"{text}.txt": b"coffee"})
    refs = list(_source(tmp_path).list())
    assert [ref.caption for ref in refs] == ["coffee", "coffee"]
    assert [ref.image_id for ref in refs] == [f"a/{names[0]}", f"b/{names[1]}"]


def test_a_caption_comes_from_txt_or_else_json(tmp_path: Path, write_tar: WriteTar) -> None:
    """.txt wins over `caption` or `text` in .json; any other content gives no caption."""
    files = {
        "a.json": json.dumps({"caption": "from json"}).encode(),
        "a.jpg": b"x",
        "a.txt": b"from txt",
        "b.jpg": b"x",
        "b.json": json.dumps({"text": "said \ud800"}).encode(),
        "c.jpg": b"x",
        "c.json": b"[1]",
        "d.jpg": b"x",
        "d.json": b"{broken",
        "e.jpg": b"x",
        "e.json": json.dumps({"caption": ["first", "second"]}).encode(),
    }
    refs = _listed(write_tar(tmp_path / "a.tar", files))
    assert [ref.caption for ref in refs] == ["from txt", "said ?", None, None, "first"]


def test_several_images_of_a_sample_are_all_kept(tmp_path: Path, write_tar: WriteTar) -> None:
    """Images that share a key have their extension in the id and share the caption."""
    files = {"0.left.jpg": b"l", "0.right.jpg": b"r", "0.txt": b"pair", "1.jpg": b"x"}
    refs = _listed(write_tar(tmp_path / "a.tar", files))
    assert [ref.image_id for ref in refs] == ["a/0.left.jpg", "a/0.right.jpg", "a/1"]
    assert [ref.caption for ref in refs] == ["pair", "pair", None]


def test_offset_and_size_locate_each_image(tmp_path: Path, write_tar: WriteTar) -> None:
    """Offset and size give exactly the image's bytes; images are read in the requested order."""
    files = {f"{number:03d}.jpg": bytes([number]) * (number + 1) for number in range(80)}
    path = write_tar(tmp_path / "a.tar", files | {"none.jpg": b""})
    source = _source(path)
    refs = list(source.list())[::-1]
    whole = path.read_bytes()
    assert all(ref.size is not None and ref.offset is not None for ref in refs)
    cut = [whole[ref.offset : ref.offset + ref.size] for ref in refs]  # type: ignore[operator]
    assert list(source.read(refs)) == cut == [b"", *list(files.values())[::-1]]


def test_hard_links_are_images_too(tmp_path: Path) -> None:
    """A tar stores hard-linked files once; both names are listed and readable."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(b"same")
    (tmp_path / "in/b.jpg").hardlink_to(tmp_path / "in/a.jpg")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("a.jpg", "b.jpg"):
            tar.add(tmp_path / "in" / name, name)
    source = _source(tmp_path)
    refs = list(source.list())
    assert [ref.image_id for ref in refs] == ["x/a", "x/b"]
    assert list(source.read(refs)) == [b"same", b"same"]


def test_a_rewritten_tar_is_not_read_at_old_offsets(tmp_path: Path, write_tar: WriteTar) -> None:
    """Once the tar has changed, its images raise errors instead of returning other bytes."""
    path = write_tar(tmp_path / "a.tar", {"0.jpg": b"00", "1.jpg": b"11"})
    source = _source(path)
    refs = list(source.list())
    write_tar(path, {"1.jpg": b"11", "0.jpg": b"00", "2.jpg": b"22"})
    errors = list(source.read(refs))
    assert [str(error) for error in errors] == ["the tar has changed since it was catalogued"] * 2
    path.unlink()
    assert [str(error) for error in source.read(refs)] == ["no such file"] * 2


@pytest.mark.parametrize(
    ("keep", "whole"), [(0, 0), (300, 0), (512, 0), (1000, 0), (1536, 1), (2048, 1)]
)
def test_a_truncated_tar_costs_what_is_cut_off(
    tmp_path: Path, write_tar: WriteTar, keep: int, whole: int
) -> None:
    """What came before the cut is listed, one row stands for the rest, and other tars are whole."""
    path = write_tar(tmp_path / "cut.tar", {"0.jpg": b"0" * 600, "1.jpg": b"1"})
    write_tar(tmp_path / "good.tar", {"0.jpg": b"0"})
    path.write_bytes(path.read_bytes()[:keep])
    refs = _listed(tmp_path)
    assert [ref.image_id for ref in refs if not ref.fault] == ["cut/0"] * whole + ["good/0"]
    (rest,) = [ref for ref in refs if ref.below]
    assert rest.below == "cut/"
    assert rest.fault and rest.fault.startswith("not a tar, or truncated or damaged")
    (tmp_path / "good.tar").unlink()
    if not whole:
        with pytest.raises(SourceError, match=r"No image in .* can be used\. .*cut\.tar: "):
            _listed(tmp_path)


def test_a_damaged_header_costs_what_follows_it(tmp_path: Path, write_tar: WriteTar) -> None:
    """A damaged header is a fault; it is not taken for the end of the tar."""
    path = write_tar(tmp_path / "a.tar", {"0.jpg": b"0", "1.jpg": b"1", "2.jpg": b"2"})
    data = bytearray(path.read_bytes())
    data[1024 + 10] ^= 0xFF
    path.write_bytes(data)
    good, rest = _listed(tmp_path)
    assert (good.image_id, rest.image_id) == ("a/0", "a/")
    assert rest.fault and "neither a member nor the end at byte 1024" in rest.fault


def test_concatenated_tars_are_read_to_their_end(tmp_path: Path, write_tar: WriteTar) -> None:
    """`cat a.tar b.tar` keeps the images of both, at their places in the whole file."""
    one = write_tar(tmp_path / "in/a.tar", {"a.jpg": b"first"}).read_bytes()
    two = write_tar(tmp_path / "in/b.tar", {"b.jpg": b"second"}).read_bytes()
    both = tmp_path / "both.tar"
    both.write_bytes(one + two)
    source = _source(both)
    refs = list(source.list())
    assert [ref.image_id for ref in refs] == ["both/a", "both/b"]
    assert list(source.read(refs)) == [b"first", b"second"]
    both.write_bytes(one + two[:200])
    good, rest = _source(both).list()
    assert (good.image_id, rest.below) == ("both/a", "both/")


def test_symbolic_links_in_a_tar_are_images_too(tmp_path: Path) -> None:
    """A link to an earlier or later member is readable; one that leads nowhere has a fault."""
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, target in (("in/first.jpg", "a.jpg"), ("lost.jpg", "../nowhere.jpg")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
        info = tarfile.TarInfo("in/a.jpg")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"same"))
    source = _source(tmp_path)
    refs = {ref.image_id: ref for ref in source.list()}
    assert refs.keys() == {"x/in/a", "x/in/first", "x/lost"}
    assert list(source.read([refs["x/in/first"]])) == [b"same"]
    assert refs["x/lost"].fault == "a link to ../nowhere.jpg, which is not in the tar"


def test_members_are_told_by_content_where_the_name_does_not(
    tmp_path: Path, write_tar: WriteTar, jpeg: Callable[[str], bytes]
) -> None:
    """Images without a telling extension are listed; other members are counted by kind."""
    photo = jpeg("red")
    files = {"plain": photo, "a.photo": photo, "b.HEIC": b"x", "c.cls": b"7", "d": b"words",
             "__MACOSX/e.jpg": b"x"}  # fmt: skip
    source = _source(write_tar(tmp_path / "a.tar", files))
    assert [ref.image_id for ref in source.list()] == ["a/plain", "a/a", "a/b"]
    assert source.skipped == {
        "text files": 1, "other files": 1, "hidden or system files and folders": 1,
    }  # fmt: skip


def test_a_tar_that_cannot_be_read_costs_itself_only(tmp_path: Path, write_tar: WriteTar) -> None:
    """A pipe named like a tar is not waited for; it stands for the images it may have had."""
    write_tar(tmp_path / "good.tar", {"0.jpg": b"0"})
    os.mkfifo(tmp_path / "pipe.tar")
    good, bad = _listed(tmp_path)
    assert (good.fault, bad.below, bad.fault) == (None, "pipe/", "it is not a regular file")


def test_a_tar_is_read_once_until_it_changes(
    tmp_path: Path, write_tar: WriteTar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second look reads no header of a tar that is as it was, and finds the same."""
    write_tar(tmp_path / "in/a.tar", {"0.jpg": b"0", "0.txt": b"zero", "notes.md": b"n"})
    write_tar(tmp_path / "in/b.tar", {"1.jpg": b"1"})
    source = _source(tmp_path / "in")
    first, skipped = list(source.list()), dict(source.skipped)
    opened: list[str] = []
    plain = webdataset._look

    def counted(*of: Any) -> webdataset.Found:
        opened.append(of[-1].path)
        return plain(*of)

    monkeypatch.setattr(webdataset, "_look", counted)
    assert (list(source.list()), source.skipped, opened) == (first, skipped, [])
    write_tar(tmp_path / "in/b.tar", {"1.jpg": b"1", "2.jpg": b"2"})
    assert [ref.image_id for ref in source.list()] == ["a/0", "b/1", "b/2"]
    assert opened == ["b.tar"]
    kept = list((Settings().folder / "cache/tars").rglob("*.parquet"))
    assert len(kept) == 2
    kept[0].write_bytes(b"damaged")
    assert [ref.image_id for ref in source.list()] == ["a/0", "b/1", "b/2"]


def test_a_compressed_tar_is_read_like_a_plain_one(tmp_path: Path, write_tar: WriteTar) -> None:
    """Each image of a .tar.gz is read by its place in the unpacked tar, also if the tar is the
    source; one that is damaged costs itself only; what is no tar says so."""
    plain = write_tar(tmp_path / "in/a.tar", {"0.jpg": b"zero", "0.txt": b"none", "1.jpg": b"one"})
    packed = tmp_path / "in/b.tar.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "in/c.tgz").write_bytes(packed.read_bytes()[:-20])
    source = _source(tmp_path / "in")
    *refs, bad = source.list()
    assert [ref.image_id for ref in refs] == ["a/0", "a/1", "b/0", "b/1"]
    assert [*source.read(refs)] == [b"zero", b"one"] * 2
    assert refs[2].caption == "none"
    assert bad.image_id == "c/"
    assert bad.fault and "cannot be read" in bad.fault
    assert [ref.image_id for ref in _listed(packed)] == ["b/0", "b/1"]
    with pytest.raises(SourceError, match="compressed, which its name does not say"):
        _listed(packed.rename(tmp_path / "b.tar"))


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("{00000..00002}.tar", ["00000/0", "00001/0", "00002/0"]),
        ("{00003..00011}.tar", ["00003/0", "00010/0"]),
        ("0001?.tar", ["00010/0"]),
        ("{00001,sub/x}.tar", ["00001/0", "sub/x/0"]),
        ("**/*.tar", ["00000/0", "00001/0", "00002/0", "00003/0", "00010/0", "sub/x/0"]),
    ],
)
def test_braces_and_wildcards(
    tmp_path: Path, write_tar: WriteTar, pattern: str, named: list[str]
) -> None:
    """An address names tars as WebDataset's URLs do."""
    for name in ("00000", "00001", "00002", "00003", "00010", "sub/x"):
        write_tar(tmp_path / f"{name}.tar", {"0.jpg": b"0"})
    assert [ref.image_id for ref in _listed(tmp_path / pattern)] == named
    with pytest.raises(SourceError, match="No images in"):
        _listed(tmp_path / "nothing-*.tar")


def test_keys_with_dots_have_their_own_captions(tmp_path: Path, write_tar: WriteTar) -> None:
    files = {"a.1.jpg": b"x", "a.1.txt": b"one", "a.2.jpg": b"x", "a.2.txt": b"two"}
    assert [ref.caption for ref in _listed(write_tar(tmp_path / "t.tar", files))] == ["one", "two"]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names(tmp_path: Path, form: int) -> None:
    """Names of more than a header's 100 bytes, as PAX and GNU tar store them."""
    name = f"{'ä' * 90}/{'long' * 40}"
    with tarfile.open(tmp_path / "t.tar", "w", format=form) as tar:
        info = tarfile.TarInfo(f"{name}.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    source = _source(tmp_path)
    (ref,) = source.list()
    assert ref.image_id == f"t/{name}"
    assert [*source.read([ref])] == [b"abc"]


def test_a_source_without_images_is_refused(tmp_path: Path, write_tar: WriteTar) -> None:
    """No tar, a tar without images, a missing tar and a missing folder each get an error."""
    with pytest.raises(SourceError, match="No images in"):
        _listed(tmp_path)
    with pytest.raises(SourceError, match="No images in"):
        _listed(write_tar(tmp_path / "a.tar", {"a.txt": b"only words"}))
    with pytest.raises(SourceError, match=r"b\.tar does not exist"):
        _listed(tmp_path / "b.tar")
    with pytest.raises(SourceError, match="is not a folder"):
        _listed(tmp_path / "nowhere")


def test_a_tar_in_capitals_is_a_tar(tmp_path: Path, write_tar: WriteTar) -> None:
    """As some cameras and old systems name files; and a member above the tar's root is an image."""
    write_tar(tmp_path / "in/A.TAR", {"0.JPG": b"0", "../up.jpg": b"1"})
    write_tar(tmp_path / "in/b.tar", {"0.jpg": b"2"})
    refs = list(_source(tmp_path / "in").list())
    assert [ref.image_id for ref in refs] == ["A/0", "A/../up", "b/0"]
    assert list(_source(tmp_path / "in").read(refs)) == [b"0", b"1", b"2"]


def test_tars_that_the_address_names_and_that_are_missing_are_counted(
    tmp_path: Path, write_tar: WriteTar
) -> None:
    """As in a bucket that is copied by half; wildcards name none."""
    write_tar(tmp_path / "in/s-000.tar", {"0.jpg": b"0"})
    for named, missing in (("s-{000..003}.tar", 3), ("s-{000,1}{a,b}.tar", 4), ("s-*.tar", 0)):
        source = _source(tmp_path / "in" / named)
        with suppress(SourceError):  # of the second, none is there
            list(source.list())
        assert source.skipped["tars that the address names and that are missing"] == missing


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull"),
        (gzip.compress(b"x" * 9000, mtime=0), "compressed, which its name does not say"),
    ],
)
def test_what_is_in_the_place_of_a_tar_is_named(
    tmp_path: Path, write_tar: WriteTar, data: bytes, said: str
) -> None:
    """A clone without Git LFS, and a compressed tar under a plain name, say what to do."""
    write_tar(tmp_path / "good.tar", {"1.jpg": b"one"})
    (tmp_path / "bad.tar").write_bytes(data)
    bad, good = open_source(WebDatasetConfig(type="webdataset", uri=str(tmp_path))).list()
    assert bad.fault and said in bad.fault
    assert good.fault is None
