"""The tests of the parts, run against the installed wheel outside the checkout."""

import shutil
import subprocess
from pathlib import Path

from tests.wheel import CHECKOUT, built, environment, shell

_NOT_COPIED = shutil.ignore_patterns("__pycache__")
_PARTS = [
    *(f"tests/unit/{part}" for part in (
        "search", "store", "serving/test_middleware.py", "serving/test_schema.py",
    )),
    "tests/integration/search/test_sql_door.py",
]  # fmt: skip


def test_the_tests_of_the_parts_pass_outside_the_checkout(tmp_path: Path) -> None:
    """Those that read no file of the checkout but the sample, against the wheel's files alone."""
    python = environment(tmp_path / "venv", built(tmp_path))
    shutil.copytree(CHECKOUT / "tests", tmp_path / "tests", ignore=_NOT_COPIED)
    for name in ("pyproject.toml", "sample"):
        (tmp_path / name).symlink_to(CHECKOUT / name)
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    # What the tests import as `serving` is the wheel's.
    (tmp_path / "serving").symlink_to(site / "clip_assets/serving")
    script = (
        "import clip_assets, pytest, serving.app, sys; "
        f"assert clip_assets.__path__ == [{str(site / 'clip_assets')!r}]; "
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [str(python), "-c", script, "-q", "-p", "no:cacheprovider", *_PARTS],
        cwd=tmp_path, env=shell(python), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout.splitlines()[-1]
