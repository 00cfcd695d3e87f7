"""`clip-assets new`: creates a Dagster project for collections."""

import re
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from clip_assets import project
from clip_assets.errors import SettingsError
from clip_assets.home import expanded
from clip_assets.project import Project

_PYPROJECT = """\
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["clip-assets[dagster,serve,sky]>={version}"]

[build-system]
requires = ["setuptools>=80"]
build-backend = "setuptools.build_meta"

[tool.setuptools.packages.find]
include = ["{module}*"]

[tool.setuptools.package-data]
"*" = ["*.yaml"]

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{module}"
code_location_name = "{name}"
"""
_DEFINITIONS = '''\
"""The code location: everything below defs/."""

from functools import cache
from pathlib import Path

import dagster as dg


@dg.definitions
@cache  # a run's process loads them twice, and each load takes seconds
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
'''
_EXECUTOR = '''\
"""How runs execute. Remove this file if your own assets need a process each."""

import dagster as dg


@dg.definitions
def executor() -> dg.Definitions:
    """In the run's own process, because jobs and Postgres do the heavy work."""
    return dg.Definitions(executor=dg.in_process_executor)
'''
_README = """\
# {name}

Image search as Dagster assets, made with `clip-assets`.

    clip-assets init photos ~/Pictures        # or s3://…; writes {module}/defs/photos/defs.yaml
    clip-assets backfill photos               # catalog, embeddings, search_index, release
    clip-assets serve --collection photos     # http://127.0.0.1:8000
    dg dev                                    # the Dagster UI, http://127.0.0.1:3000

Data, the embedded Postgres and Dagster's storage are in `.clip_assets`; `DATABASE_URL` and
`CLIP_ASSETS_DATA` in `.env` move them elsewhere. `dagster.yaml` is Dagster's instance file.
"""
_IGNORED = """\
.clip_assets/
.env
__pycache__/
*.egg-info/
"""


def write_project(folder: Path) -> Project:
    """Write the project. Raises SettingsError if the folder is in use or cannot name a package."""
    root = expanded(folder).resolve()
    name = root.name
    module = re.sub(r"\W+", "_", name.lower()).strip("_")
    if not module.isidentifier():
        raise SettingsError(f"`{name}` cannot name a Python package. Choose another folder.")
    if module in ("clip_assets", "dagster", "sky"):
        raise SettingsError(
            f"{module} is the name of a package that the project uses. Choose another folder."
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise SettingsError(f"{root} exists and is not empty. Choose another folder.")
    for path, text in _texts(root, name, module):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    made = project.read(root)
    assert made is not None, "its pyproject.toml was just written"
    return made


def _texts(root: Path, name: str, module: str) -> Iterator[tuple[str, str]]:
    yield (
        "pyproject.toml",
        _PYPROJECT.format(name=name, module=module, version=version("clip-assets")),
    )
    yield "README.md", _README.format(name=name, module=module)
    yield ".gitignore", _IGNORED
    # `dg` reads it, and needs the address in full.
    yield ".env", f"DAGSTER_HOME={root / '.clip_assets' / 'dagster'}\n"
    yield "dagster.yaml", (files("clip_assets") / "instance" / "dagster.yaml").read_text()
    yield f"{module}/__init__.py", ""
    yield f"{module}/definitions.py", _DEFINITIONS
    yield f"{module}/defs/__init__.py", ""
    yield f"{module}/defs/executor.py", _EXECUTOR
