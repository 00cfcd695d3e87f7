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
    """Tars are listed in path order, members in stored order; captions are not images."""
    write_tar(tmp_path / "b.tar", {"0002.jpg": b"b2", "0001.PNG": b"b1", "0001.txt": b"one"})
    write_tar(tmp_path / "sub/a.tar", {"./x/0.v1.jpg": b"a", "._0.jpg": b"apple", "readme": b"r"})
    refs = _listed(tmp_path)
    assert [ref.image_id for ref in refs] == ["b/0002", "b/0001", "sub/a/x/0"]
    assert [ref.caption for ref in refs] == [None, "one", None]
    assert refs[2].uri == str(tmp_path.resolve() / "sub/a.tar")


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


@pytest.mark.parametrize("keep", [0, 300, 512, 1000, 1024 + 512, 2048])
def test_a_truncated_tar_fails_the_listing(tmp_path: Path, write_tar: WriteTar, keep: int) -> None:
    """Wherever the tar was cut, even between two members, the error names it."""
    path = write_tar(tmp_path / "cut.tar", {"0.jpg": b"0" * 600, "1.jpg": b"1"})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SourceError, match=r"cut\.tar is not a tar, or is truncated or damaged"):
        _listed(tmp_path)


def test_a_damaged_header_fails_the_listing(tmp_path: Path, write_tar: WriteTar) -> None:
    """A damaged header is an error; it is not taken for the end of the tar."""
    path = write_tar(tmp_path / "a.tar", {"0.jpg": b"0", "1.jpg": b"1", "2.jpg": b"2"})
    data = bytearray(path.read_bytes())
    data[1024 + 10] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(SourceError, match="neither a member nor the end at byte 1024"):
        _listed(tmp_path)


def test_a_compressed_tar_is_refused(tmp_path: Path, write_tar: WriteTar) -> None:
    """A .tar.gz, given or found in a folder, and a gzip named .tar each say what to do."""
    plain = write_tar(tmp_path / "in/a.tar", {"0.jpg": b"0"})
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for root in (packed, tmp_path):
        with pytest.raises(SourceError, match=r"a\.tar\.gz is compressed.*Decompress it"):
            _listed(root)
    with pytest.raises(SourceError, match="is not a tar"):
        _listed(packed.rename(tmp_path / "b.tar"))


def test_two_images_with_one_id_are_refused(tmp_path: Path, write_tar: WriteTar) -> None:
    """If tar names and keys combine to the same id, the error names both places."""
    write_tar(tmp_path / "a.tar", {"b/0.jpg": b"0"})
    write_tar(tmp_path / "a/b.tar", {"0.jpg": b"0"})
    with pytest.raises(SourceError, match=r"'a/b/0': .*a\.tar at byte 512 and .*b\.tar at byte"):
        _listed(tmp_path)


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
