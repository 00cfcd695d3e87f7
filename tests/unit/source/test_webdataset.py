import gzip
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from clip_assets.errors import SourceError
from clip_assets.source import ImageRef, Source
from clip_assets.source.config import WebDatasetConfig
from clip_assets.source.open import open_source

WriteTar = Callable[[Path, dict[str, bytes]], Path]


def _source(root: Path) -> Source:
    return open_source(WebDatasetConfig(type="webdataset", uri=str(root)))


def _listed(root: Path) -> list[ImageRef]:
    return list(_source(root).list())


def test_images_are_named_by_tar_and_key(tmp_path: Path, write_tar: WriteTar) -> None:
    """Tars are taken in order of their path, members as stored; captions are no images."""
    write_tar(tmp_path / "b.tar", {"0002.jpg": b"b2", "0001.PNG": b"b1", "0001.txt": b"one"})
    write_tar(tmp_path / "sub/a.tar", {"./x/0.v1.jpg": b"a", "._0.jpg": b"apple", "readme": b"r"})
    refs = _listed(tmp_path)
    assert [ref.image_id for ref in refs] == ["b/0002", "b/0001", "sub/a/x/0"]
    assert [ref.caption for ref in refs] == [None, "one", None]
    assert refs[2].uri == str(tmp_path.resolve() / "sub/a.tar")


def test_captions_of_each_kind(tmp_path: Path, write_tar: WriteTar) -> None:
    """.txt comes first, then `caption` or `text` of .json; what is neither is no caption."""
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
    """Images that share a key carry their extension, and share the caption."""
    files = {"0.left.jpg": b"l", "0.right.jpg": b"r", "0.txt": b"pair", "1.jpg": b"x"}
    refs = _listed(write_tar(tmp_path / "a.tar", files))
    assert [ref.image_id for ref in refs] == ["a/0.left.jpg", "a/0.right.jpg", "a/1"]
    assert [ref.caption for ref in refs] == ["pair", "pair", None]


def test_each_image_is_one_range(tmp_path: Path, write_tar: WriteTar) -> None:
    """Offset and size cut the image's bytes out of the tar, and reading gives them in order."""
    files = {f"{number:03d}.jpg": bytes([number]) * (number + 1) for number in range(80)}
    path = write_tar(tmp_path / "a.tar", files | {"none.jpg": b""})
    source = _source(path)
    refs = list(source.list())[::-1]
    whole = path.read_bytes()
    assert all(ref.size is not None and ref.offset is not None for ref in refs)
    cut = [whole[ref.offset : ref.offset + ref.size] for ref in refs]  # type: ignore[operator]
    assert list(source.read(refs)) == cut == [b"", *list(files.values())[::-1]]


def test_hard_links_are_images_too(tmp_path: Path) -> None:
    """A tar of hard-linked files stores one copy; both names are listed and read."""
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
    """After the tar changed, its images are errors, never another image's bytes."""
    path = write_tar(tmp_path / "a.tar", {"0.jpg": b"00", "1.jpg": b"11"})
    source = _source(path)
    refs = list(source.list())
    write_tar(path, {"1.jpg": b"11", "0.jpg": b"00", "2.jpg": b"22"})
    errors = list(source.read(refs))
    assert [str(error) for error in errors] == ["the tar has changed since it was catalogued"] * 2
    path.unlink()
    assert [str(error) for error in source.read(refs)] == ["no such file"] * 2


@pytest.mark.parametrize("keep", [0, 300, 512, 1000, 1024 + 512, 2048])
def test_a_cut_tar_is_named(tmp_path: Path, write_tar: WriteTar, keep: int) -> None:
    """Wherever a tar was cut, even between two members, the listing fails and names it."""
    path = write_tar(tmp_path / "cut.tar", {"0.jpg": b"0" * 600, "1.jpg": b"1"})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SourceError, match=r"cut\.tar is not a tar, or is cut short or damaged"):
        _listed(tmp_path)


def test_a_damaged_header_is_no_end(tmp_path: Path, write_tar: WriteTar) -> None:
    """A broken header in the middle fails the listing instead of hiding what follows."""
    path = write_tar(tmp_path / "a.tar", {"0.jpg": b"0", "1.jpg": b"1", "2.jpg": b"2"})
    data = bytearray(path.read_bytes())
    data[1024 + 10] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(SourceError, match="no member and no end at byte 1024"):
        _listed(tmp_path)


def test_a_compressed_tar_is_refused(tmp_path: Path, write_tar: WriteTar) -> None:
    """A .tar.gz, given or found, and a gzip in disguise each say what to do."""
    plain = write_tar(tmp_path / "in/a.tar", {"0.jpg": b"0"})
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for root in (packed, tmp_path):
        with pytest.raises(SourceError, match=r"a\.tar\.gz is compressed.*Unpack it"):
            _listed(root)
    with pytest.raises(SourceError, match="is not a tar"):
        _listed(packed.rename(tmp_path / "b.tar"))


def test_two_images_with_one_id_are_refused(tmp_path: Path, write_tar: WriteTar) -> None:
    """Tars whose names and keys run into one another say both places."""
    write_tar(tmp_path / "a.tar", {"b/0.jpg": b"0"})
    write_tar(tmp_path / "a/b.tar", {"0.jpg": b"0"})
    with pytest.raises(SourceError, match=r"'a/b/0': .*a\.tar at byte 512 and .*b\.tar at byte"):
        _listed(tmp_path)


def test_nothing_to_list_is_refused(tmp_path: Path, write_tar: WriteTar) -> None:
    """No tar, no image in a tar, a tar or a folder that is not there: one sentence each."""
    with pytest.raises(SourceError, match="No images in"):
        _listed(tmp_path)
    with pytest.raises(SourceError, match="No images in"):
        _listed(write_tar(tmp_path / "a.tar", {"a.txt": b"only words"}))
    with pytest.raises(SourceError, match=r"b\.tar does not exist"):
        _listed(tmp_path / "b.tar")
    with pytest.raises(SourceError, match="is not a folder"):
        _listed(tmp_path / "nowhere")
