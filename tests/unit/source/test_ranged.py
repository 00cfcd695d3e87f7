import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from clip_assets.source.ranged import LARGEST, Ranged
from clip_assets.source.tar import members

CONTENT = Random(0).randbytes(300_000)


class _Counted:
    def __init__(self, content: bytes) -> None:
        self.content, self.requests, self.bytes = content, 0, 0

    def __call__(self, offset: int, size: int) -> bytes:
        self.requests += 1
        self.bytes += size
        return self.content[offset : offset + size]


def _walked(path: Path) -> _Counted:
    counted = _Counted(path.read_bytes())
    file = Ranged(counted, len(counted.content))
    assert sum(1 for _ in members(file, file._size, wanted=lambda _name, _size: 0)) > 1
    return counted


def test_seeks_and_reads_behave_like_a_file() -> None:
    """Any sequence of seeks and reads returns what an in-memory file returns."""
    random = Random(1)
    ours, real = Ranged(_Counted(CONTENT), len(CONTENT)), io.BytesIO(CONTENT)
    for _ in range(500):
        offset, size = random.randrange(320_000), random.choice([0, 1, 512, 70_000, -1])
        assert ours.seek(offset) == real.seek(offset)
        assert ours.read(size) == real.read(size)
        assert ours.tell() == min(real.tell(), max(offset, len(CONTENT)))


def test_a_tar_of_small_images_takes_few_requests(
    tmp_path: Path, write_tar: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    """Headers are read in a few large requests, not one request per header."""
    names = [f"{number}.jpg" for number in range(400)]
    counted = _walked(write_tar(tmp_path / "a.tar", dict.fromkeys(names, bytes(50_000))))
    assert counted.requests <= 8 + len(counted.content) // LARGEST


def test_listing_a_tar_skips_the_bytes_of_large_images(
    tmp_path: Path, write_tar: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    """Listing a tar of large images transfers a small fraction of its bytes."""
    names = [f"{number}.jpg" for number in range(8)]
    counted = _walked(write_tar(tmp_path / "a.tar", dict.fromkeys(names, bytes(3_000_000))))
    assert counted.bytes < len(counted.content) / 20


def test_offsets_and_sizes_match_tarfile(
    tmp_path: Path, write_tar: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    """Offsets and sizes equal those that tarfile reports, including for long names."""
    path = write_tar(tmp_path / "a.tar", {"n" * 300 + ".jpg": b"1", "b/ü.jpg": b"22"})
    with tarfile.open(path) as tar:
        expected = [(info.name, info.offset_data, info.size) for info in tar]
    counted = _Counted(path.read_bytes())
    file = Ranged(counted, len(counted.content))
    found = members(file, file._size, wanted=lambda _name, _size: 0)
    assert [(member.name, member.offset, member.size) for member in found] == expected
