"""The Dagster instance of an installation."""

import os
from importlib.resources import files
from pathlib import Path

from clip_assets.settings import Settings


def dagster_used(settings: Settings) -> bool:
    """Whether this installation has a Dagster instance; if so, Dagster is pointed at it."""
    used = (Path(os.environ.get("DAGSTER_HOME", settings.dagster_home)) / "dagster.yaml").exists()
    if used:
        prepare_dagster_home(settings)
    return used


def prepare_dagster_home(settings: Settings) -> None:
    """Point Dagster at this installation's folder, unless DAGSTER_HOME says otherwise.

    Links to the project's `dagster.yaml`, so that edits take effect, or copies the default one.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or settings.dagster_home).absolute()
    os.environ["DAGSTER_HOME"] = str(home)
    home.mkdir(parents=True, exist_ok=True)
    if (home / "dagster.yaml").exists():
        return
    of_project = settings.root / "dagster.yaml" if settings.root else None
    if of_project and of_project.exists():
        (home / "dagster.yaml").symlink_to(of_project.resolve())
    else:
        given = files("clip_assets") / "instance" / "dagster.yaml"
        (home / "dagster.yaml").write_text(given.read_text())
