"""The test files of a decoder library: all that a format can be, and much that it must not be."""

import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.mark.promise("No image is lost")
def test_each_file_of_a_decoders_own_tests_is_accounted_for(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Pillow's thousand files: each is embedded, rejected with a reason, or counted as skipped."""
    pillow = f"pillow=={version('pillow')}"
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "pillow"]
    subprocess.run([*pip, "--dest", str(tmp_path), pillow], check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    (images,) = tmp_path.glob("*/Tests/images")
    corpus = [sys.executable, "-m", "benchmarks.corpus", str(images)]
    done = subprocess.run(corpus, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.splitlines()[-1]
    record_property("figure", told)
    embedded = re.search(r"(\d+) embedded", told)
    assert embedded and int(embedded[1]) > 600, told
