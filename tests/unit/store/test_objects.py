"""Writes are complete or absent, and create-only writes never overwrite."""

import errno
import os
import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from clip_assets.errors import StoreError
from clip_assets.store.atomic import TEMPORARY
from clip_assets.store.objects import Objects


def test_create_never_overwrites(tmp_path: Path) -> None:
    """`create` returns False to the second writer, and the first writer's bytes stay."""
    objects = Objects(str(tmp_path))
    assert objects.create("a/b", b"first")
    assert not objects.create("a/b", b"second")
    assert objects.get("a/b") == b"first"


def test_replace_overwrites_only_what_was_read(tmp_path: Path) -> None:
    """Of eight processes that each add a line to a file again and again, none loses one."""
    objects = Objects(str(tmp_path))
    assert objects.replace("log", None, b"")
    assert not objects.replace("log", None, b"")
    with ProcessPoolExecutor(8, mp_context=get_context("forkserver")) as pool:
        for done in [pool.submit(_add_lines, str(tmp_path), n) for n in range(8)]:
            done.result()
    assert sorted(objects.get("log").split()) == sorted(
        f"{n}.{line}".encode() for n in range(8) for line in range(10)
    )


def _add_lines(root: str, number: int) -> None:
    objects = Objects(root)
    for line in range(10):
        while not objects.replace(
            "log", log := objects.get("log"), log + b"%d.%d " % (number, line)
        ):
            pass


def test_a_mounted_bucket_needs_neither_links_nor_synced_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SkyPilot's mounts have neither; the second writer is refused all the same."""

    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    sync = os.fsync
    monkeypatch.setattr(Path, "hardlink_to", refused)
    monkeypatch.setattr(
        os, "fsync", lambda f: refused() if stat.S_ISDIR(os.fstat(f).st_mode) else sync(f)
    )
    objects = Objects(str(tmp_path))
    assert objects.create("a/b", b"first")
    assert not objects.create("a/b", b"second")
    assert objects.get("a/b") == b"first"
    assert [entry.path for entry in objects.list()] == ["a/b"]


def test_put_replaces_the_object(tmp_path: Path) -> None:
    """`put` leaves the new bytes and no temporary file."""
    objects = Objects(str(tmp_path))
    objects.put("a", b"old")
    objects.put("a", b"new")
    assert objects.get("a") == b"new"
    assert [entry.path for entry in objects.list()] == ["a"]
    assert not list(tmp_path.glob(f"{TEMPORARY}*"))


@pytest.mark.promise("Half-written files are never read")
def test_temporary_files_of_a_killed_writer_are_not_listed(tmp_path: Path) -> None:
    """Readers do not see a temporary file that was never renamed."""
    (tmp_path / f"{TEMPORARY}x").write_bytes(b"half")
    assert list(Objects(str(tmp_path)).list()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_reported_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says that the disk is full and what to do; no file is left behind."""
    real = os.fdopen

    def full(handle: int, mode: str):  # type: ignore[no-untyped-def]
        os.close(handle)
        return real(os.open("/dev/full", os.O_WRONLY), mode)

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(StoreError, match=r"No space left on device. Free some space"):
        Objects(str(tmp_path)).put("a", b"data" * 10_000)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_scheme_is_refused() -> None:
    """A URI with an unsupported scheme is an error that names the supported ones."""
    with pytest.raises(StoreError, match="use a folder, s3://, gs:// or az://"):
        Objects("ftp://host/images")
