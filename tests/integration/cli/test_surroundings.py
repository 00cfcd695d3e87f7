"""A command in surroundings that are not as they should be."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from clip_assets.cli.new import write_project

NOT_UTF8 = os.fsdecode(b"caf\xe9")


def _failed(
    python: str, folder: Path, arguments: Sequence[str], before: str = "", **variables: str
) -> str:
    """The one line that the command prints; `before` is done by the shell that starts it."""
    ended = subprocess.run(
        ["/bin/sh", "-c", f'{before}\nexec "$@"', "sh", python, "-m", "clip_assets.cli.app",
         *arguments],
        cwd=folder, env={**os.environ, "COLUMNS": "200", **variables}, capture_output=True,
        text=True, errors="surrogateescape", check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    assert ended.stderr.startswith("error: "), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr.removeprefix("error: ").strip()


@pytest.mark.parametrize(
    ("setting", "arguments", "said"),
    [
        ("CLIP_ASSETS_SHARED_DISK=maybe", ["status"],
         "Invalid settings: CLIP_ASSETS_SHARED_DISK: Input should be a valid boolean"),
        ("CLIP_ASSETS_DATA=~no-such-user", ["duplicates", "photos"],
         "~no-such-user/photos: there is no such home folder. Write the whole path."),
        ("CLIP_ASSETS_HOME=~no-such-user/x", ["status"],
         "~no-such-user/x: there is no such home folder. Write the whole path."),
        ("CLIP_ASSETS_PROJECT=~no-such-user/x", ["status"],
         "~no-such-user/x: there is no such home folder. Write the whole path."),
        ("CLIP_ASSETS_PROJECT=/nowhere", ["rollback", "photos"],
         "/nowhere is not a Dagster project"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_is_one_sentence(
    python: str, tmp_path: Path, setting: str, arguments: list[str], said: str
) -> None:
    """It names the setting, and no command shows a traceback."""
    variable, _, value = setting.partition("=")
    assert _failed(python, tmp_path, arguments, **{variable: value}).startswith(said)


def test_a_home_folder_in_a_setting_is_meant_as_such(python: str, tmp_path: Path) -> None:
    """A shell leaves the `~` of a quoted value, and so does `.env`."""
    variables = {"CLIP_ASSETS_HOME": "~/data", "HOME": str(tmp_path)}
    command = [python, "-m", "clip_assets.cli.app", "keys", "add", "website"]
    subprocess.run(command, env={**os.environ, **variables}, cwd=tmp_path, check=True)
    assert (tmp_path / "data/keys.json").exists()
    assert not (tmp_path / "~").exists()


def test_a_folder_that_was_removed_is_one_sentence(python: str, tmp_path: Path) -> None:
    """Where the command runs is where its project is looked for."""
    (tmp_path / "gone").mkdir()
    said = _failed(python, tmp_path / "gone", ["status"], 'rmdir "$PWD"')
    assert said == "The current folder does not exist any more. Change into another one."


def test_an_env_file_of_windows_is_one_sentence(python: str, tmp_path: Path) -> None:
    """Its editors write UTF-16."""
    project = write_project(tmp_path / "search")
    (project.root / ".env").write_text("HF_TOKEN=x", "utf-16")
    said = _failed(python, project.root, ["status"], HOME=str(tmp_path))
    assert said.endswith("search/.env is not text in UTF-8. Save it as that.")


def test_an_argument_that_is_not_utf8_is_one_sentence(
    python: str, tmp_path: Path, database: str
) -> None:
    """Nothing of ours has such a name."""
    said = _failed(python, tmp_path, ["search", "a cat", "--collection", NOT_UTF8])
    assert said == r"'caf\udce9' is not text in UTF-8. Give it in UTF-8."


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_one_sentence(
    unbuffered: str, python: str, tmp_path: Path
) -> None:
    """Such as on a full disk, whether Python notices at once or only at exit."""
    before = f"exec >/dev/full; export PYTHONUNBUFFERED={unbuffered}"
    said = _failed(python, tmp_path, ["keys", "list"], before)
    assert said.startswith("The output cannot be used: No space left on device. Free some space")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_one_sentence(python: str, tmp_path: Path) -> None:
    """It says which folder, and which setting names another one."""
    (tmp_path / "home").mkdir(mode=0o500)
    said = _failed(python, tmp_path, ["keys", "add", "website"])
    assert "Permission denied" in said
    assert said.endswith("or set CLIP_ASSETS_HOME to another folder.")
