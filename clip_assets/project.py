"""The Dagster project that a command uses: the one that the current folder is in.

As for `dg`, a project is a folder whose `pyproject.toml` has a `[tool.dg]` table, or which has a
`dg.toml`. `clip-assets --project FOLDER` and the variable CLIP_ASSETS_PROJECT name another one.
"""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_assets.errors import SettingsError
from clip_assets.home import expanded

VARIABLE = "CLIP_ASSETS_PROJECT"
CHECKOUT_MODULE = "clip_assets"
"""Root module of this package's own checkout, whose code location is the demo."""


@dataclass(frozen=True)
class Project:
    """One Dagster project, as its configuration describes it."""

    root: Path
    root_module: str
    defs_module: str
    code_location: str

    @property
    def import_folder(self) -> Path:
        """The folder that the project's modules are imported from: `src`, or the project itself."""
        src = self.root / "src"
        return src if src.is_dir() else self.root

    @property
    def defs_folder(self) -> Path:
        return self.import_folder.joinpath(*self.defs_module.split("."))


def find() -> Project | None:
    """The named project, or else the one that the current folder is in; None if there is none.

    Raises SettingsError if the named folder is not a project, or a configuration cannot be read.
    """
    if named := os.environ.get(VARIABLE):
        found = read(expanded(named).resolve())
        if found is None:
            raise SettingsError(
                f"{named} is not a Dagster project: it has no pyproject.toml with a "
                f"[tool.dg.project] table. Correct --project or {VARIABLE}."
            )
        return found
    here = current_folder()
    return next((found for folder in (here, *here.parents) if (found := read(folder))), None)


def require() -> Project:
    """The project of this command. Raises SettingsError if there is none."""
    found = find()
    if found is None:
        raise SettingsError(f"{current_folder()} is in no Dagster project. {REMEDY}")
    return found


def current_folder() -> Path:
    """Raises SettingsError if it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise SettingsError(
            "The current folder does not exist any more. Change into another one."
        ) from error


REMEDY = (
    "Create one with `clip-assets new FOLDER`, change into one, or name it: "
    "`clip-assets --project FOLDER …`."
)


def read(folder: Path) -> Project | None:
    """The project of exactly that folder, or None."""
    table = _table(folder)
    project = table.get("project")
    if not isinstance(project, dict) or "root_module" not in project:
        return None
    root_module = str(project["root_module"])
    return Project(
        folder,
        root_module,
        str(project.get("defs_module") or f"{root_module}.defs"),
        str(project.get("code_location_name") or folder.name),
    )


def _table(folder: Path) -> dict[str, Any]:
    """The configuration of `dg` in that folder; empty if there is none."""
    for name, keys in (("dg.toml", ()), ("pyproject.toml", ("tool", "dg"))):
        path = folder / name
        try:
            table: Any = tomllib.loads(path.read_text())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise SettingsError(f"Cannot read {path}: {error}.") from error
        for key in keys:
            table = table.get(key, {})
        if table:
            return dict(table)
    return {}
