import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


def _jpeg(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(file, "JPEG")
    return file.getvalue()


def _tar(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def jpeg() -> Callable[[str], bytes]:
    return _jpeg


@pytest.fixture
def write_tar() -> Callable[[Path, dict[str, bytes]], Path]:
    return _tar
