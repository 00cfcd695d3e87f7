"""Writes are whole or absent, and a name is given once."""

import os
from pathlib import Path

import pytest

from clip_assets.errors import StoreError
from clip_assets.store.objects import TEMPORARY, Objects


def test_create_gives_a_name_once(tmp_path: Path) -> None:
    """The second writer of a name is told so, and the first one's bytes stay."""
    objects = Objects(str(tmp_path))
    assert objects.create("a/b", b"first")
    assert not objects.create("a/b", b"second")
    assert objects.get("a/b") == b"first"


def test_put_replaces(tmp_path: Path) -> None:
    """put leaves the new bytes and no temporary file."""
    objects = Objects(str(tmp_path))
    objects.put("a", b"old")
    objects.put("a", b"new")
    assert objects.get("a") == b"new"
    assert [entry.path for entry in objects.list()] == ["a"]
    assert not list(tmp_path.glob(f"{TEMPORARY}*"))


def test_leftovers_of_a_killed_writer_are_not_listed(tmp_path: Path) -> None:
    """A temporary file that was never renamed is invisible to readers."""
    (tmp_path / f"{TEMPORARY}x").write_bytes(b"half")
    assert list(Objects(str(tmp_path)).list()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full says so with the remedy, and no file appears under the name."""
    real = os.fdopen

    def full(handle: int, mode: str):  # type: ignore[no-untyped-def]
        os.close(handle)
        return real(os.open("/dev/full", os.O_WRONLY), mode)

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(StoreError, match=r"No space left on device. Free some space"):
        Objects(str(tmp_path)).put("a", b"data" * 10_000)
    assert list(tmp_path.iterdir()) == []


def test_unknown_scheme() -> None:
    """A URI nobody can read is refused with the schemes that work."""
    with pytest.raises(StoreError, match="use a folder, s3://, gs:// or az://"):
        Objects("ftp://host/images")
