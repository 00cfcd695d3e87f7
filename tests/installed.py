"""Runs the tests against the built wheel, in a folder that has no file of the product itself.

python -m tests.installed -n 2 tests/unit   # options and paths as pytest takes them
"""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.wheel import CHECKOUT, built, environment, shell, site_packages

_OF_THE_PRODUCT = ("clip_assets", "serving", "clip_assets.egg-info", "build")
"""The checkout's modules, and what installing and building them leaves beside them."""


def main() -> int:
    # Ctrl-C is for pytest, which cleans up.
    signal.signal(signal.SIGINT, lambda *_: None)
    with tempfile.TemporaryDirectory(prefix="clip-assets-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # for the user that a server of root's runs as
        wheel = built(folder)
        python = environment(folder / "venv", wheel)
        root = folder / "outside"
        _lay_out(root, site_packages(python) / "clip_assets")
        env = shell(python) | {"CHECKOUT": str(CHECKOUT), "WHEEL": str(wheel)}
        cache = f"cache_dir={CHECKOUT / '.pytest_cache'}"
        command = [str(python), "-m", "pytest", "-o", cache, *sys.argv[1:]]
        return subprocess.run(command, cwd=root, env=env, check=False).returncode


def _lay_out(root: Path, package: Path) -> None:
    """What tests read of the checkout, with the installed package in the product's place."""
    root.mkdir()
    for path in CHECKOUT.iterdir():
        if not path.name.startswith(".") and path.name not in _OF_THE_PRODUCT:
            (root / path.name).symlink_to(path)
    (root / "serving").symlink_to(package / "serving")


if __name__ == "__main__":
    sys.exit(main())
