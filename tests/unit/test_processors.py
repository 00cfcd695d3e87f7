"""Threads follow the processors that this process may use, not those of the machine."""

import os
import subprocess
from pathlib import Path

import pytest

from clip_assets.processors import available

MASK = len(os.sched_getaffinity(0))


def _system(folder: Path, groups: str, **files: str) -> Path:
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(groups)
    for name, content in files.items():
        file = folder / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


def _version_1(group: str, quota: str) -> dict[str, str]:
    folder = f"cpu,cpuacct/{group}cpu.cfs"
    return {f"{folder}_quota_us": f"{quota}\n", f"{folder}_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, MASK),
        ("0::/\n", {}, MASK),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1),
        ("0::/of/the/host\n", {"cpu.max": "150000 100000\n"}, 1),
        ("3:cpu,cpuacct:/a\n", _version_1("a/", "100000"), 1),
        ("3:cpu,cpuacct:/\n", _version_1("", "-1"), MASK),
        ("2:memory:/\n", {}, MASK),
    ],
)  # fmt: skip
def test_the_tightest_quota_counts(
    tmp_path: Path, groups: str, files: dict[str, str], expected: int
) -> None:
    """Whole processors, at least one, of this control group or one above it, of either version; in
    a container the path of the host leads nowhere."""
    assert available(_system(tmp_path, groups, **files)) == expected


def _on_one_processor(python: str, code: str) -> list[str]:
    """The words that the code prints where only one processor may be used."""
    pin = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    ended = subprocess.run(
        [python, "-c", pin + code],
        env={name: value for name, value in os.environ.items() if "OMP" not in name},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return ended.stdout.split()


@pytest.mark.parametrize("package", ["clip_assets.node", "serving"])
def test_torch_follows_the_affinity_mask(python: str, package: str) -> None:
    """Node and service use one thread then, and waiting threads sleep."""
    told = "print(os.environ['OMP_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])"
    assert _on_one_processor(python, f"import {package}\n{told}") == ["1", "PASSIVE"]


def test_the_service_gives_each_query_one_thread(python: str) -> None:
    """It encodes several at once instead, in half as many threads as it has processors."""
    environment = {name: value for name, value in os.environ.items() if "OMP" not in name}
    code = (
        "import os, serving; from serving.settings import ServingSettings\n"
        "print(os.environ['OMP_NUM_THREADS'], ServingSettings(_env_file=None).encoder_threads)"
    )
    command = [python, "-c", code]
    told = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=300)
    threads = max(1, available() // 2)
    assert told.stdout.split() == [b"1", str(threads).encode()]
