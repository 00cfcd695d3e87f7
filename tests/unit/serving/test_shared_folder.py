import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.shared_folder import PREFIX, shared_folder

USING = """
import os, sys
from serving.shared_folder import shared_folder
with shared_folder() as folder:
    if os.fork():
        os.waitpid(-1, 0)
    else:
        (folder / "counted").write_text("1")
        print(folder, os.getpid(), flush=True)
        sys.stdin.read()
        os._exit(0)
"""


@contextmanager
def _service(python: str, temporary: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A process with a forked one, both of which use the folder."""
    process = subprocess.Popen(
        [python, "-c", USING], env={"TMPDIR": str(temporary)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    try:
        assert process.stdout
        yield process, Path(process.stdout.readline().split()[0])
    finally:
        process.kill()
        process.wait()
        if process.stdin:
            process.stdin.close()


def test_the_next_service_removes_the_folder_of_a_killed_one(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But neither that of a service which runs, nor one whose worker still does, nor what only has
    such a name."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"{PREFIX}file").write_text("not a folder")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "elsewhere")
    with _service(python, tmp_path) as (_, running):
        with _service(python, tmp_path) as (killed, folder):
            killed.kill()
            killed.wait()
            with shared_folder():
                assert (folder / "counted").exists()  # the forked process has it still
            assert killed.stdin
            killed.stdin.close()
            assert killed.stdout
            killed.stdout.read()  # it has ended
        with shared_folder() as own:
            assert not folder.exists()
            assert (running / "counted").exists()
        assert not own.exists()
    assert (tmp_path / "elsewhere").is_dir()
    assert (tmp_path / f"{PREFIX}file").exists()
