"""Assets link to their YAML where the repository is shown."""

import subprocess
from pathlib import Path

import pytest

from clip_assets.component.git import web_address


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("git@github.com:team/photos.git", "https://github.com/team/photos/blob/"),
        ("https://ada:secret@github.com/team/photos", "https://github.com/team/photos/blob/"),
        ("ssh://git@gitlab.example.org:2222/a/b/photos.git", "https://gitlab.example.org/a/b/photos/-/blob/"),
    ],
)  # fmt: skip
def test_link_to_the_line_in_this_commit(tmp_path: Path, remote: str, shown: str) -> None:
    """Without the password that the remote's address may have."""
    commit = _repository(tmp_path, remote)
    path = tmp_path / "defs" / "defs.yaml"
    assert web_address(path, 3) == f"{shown}{commit}/defs/defs.yaml#L3"


@pytest.mark.parametrize("remote", ["", "/srv/git/photos.git", "git@git.example.org:photos.git"])
def test_no_link_where_nothing_is_known_of_pages(tmp_path: Path, remote: str) -> None:
    """A link that leads nowhere is worse than none."""
    _repository(tmp_path, remote)
    assert web_address(tmp_path / "defs" / "defs.yaml", 3) is None


def test_no_link_outside_of_a_repository(tmp_path: Path) -> None:
    assert web_address(tmp_path / "defs.yaml", 3) is None


def _repository(folder: Path, remote: str) -> str:
    (folder / "defs").mkdir()
    (folder / "defs/defs.yaml").write_text("type: x\n")
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    if remote:
        subprocess.run(["git", "remote", "add", "origin", remote], cwd=folder, check=True)
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
