"""The `sky` command, as a user types it."""

import re
import subprocess
from pathlib import Path

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PROJECT = Path(__file__).parents[2]


def sky(*arguments: str, secrets: dict[str, str] | None = None) -> str:
    """What the command printed, without colours; fails the test if it failed."""
    given = [f for pair in (secrets or {}).items() for f in ("--secret", "=".join(pair))]
    done = subprocess.run(
        ["sky", *arguments, *given],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    printed = _COLOUR.sub("", done.stdout)
    assert done.returncode == 0, (
        f"sky {' '.join(arguments)} ended with {done.returncode}:\n{printed}"
    )
    return printed
