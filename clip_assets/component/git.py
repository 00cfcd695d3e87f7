"""The web page that shows a file of the project in its git repository."""

import re
import subprocess
from functools import cache
from pathlib import Path

_BLOB = {"github": "{0}/blob/{1}/{2}#L{3}", "gitlab": "{0}/-/blob/{1}/{2}#L{3}",
         "bitbucket": "{0}/src/{1}/{2}#lines-{3}"}  # fmt: skip


def web_address(path: Path, line: int) -> str | None:
    """The page of this line in the current commit.

    None if the file is in no repository, git is not installed, or the server's pages are unknown.
    """
    root = _git(path.parent, "rev-parse", "--show-toplevel")
    commit = _git(path.parent, "rev-parse", "HEAD")
    server = _server(_git(path.parent, "config", "--get", "remote.origin.url") or "")
    if not root or not commit or not server:
        return None
    pattern = next((text for host, text in _BLOB.items() if host in server.split("/")[2]), None)
    inside = path.resolve().relative_to(Path(root).resolve()).as_posix()
    return pattern and pattern.format(server, commit, inside, line)


def _server(remote: str) -> str | None:
    """The repository's web address, without the user and password that a remote may contain."""
    found = re.fullmatch(
        r"(?:(?:https?|ssh)://)?(?:[^@/]+@)?([\w.-]+)(?::\d+(?=/))?[:/](.+?)(?:\.git)?/?", remote
    )
    return f"https://{found[1]}/{found[2]}" if found else None


@cache
def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
