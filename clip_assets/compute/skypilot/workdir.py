"""What SkyPilot copies to a machine: this checkout, or a wheel of the installed package."""

import hashlib
import re
import shutil
import tempfile
from importlib.metadata import Distribution, distribution
from pathlib import Path
from uuid import uuid4
from zipfile import ZIP_DEFLATED, ZipFile

import clip_assets
from clip_assets.errors import SettingsError

PACKAGE = Path(clip_assets.__file__).resolve().parent
TASKS = PACKAGE / "sky_tasks"
"""The task files; in the checkout, a link to its folder sky/."""
INSTALL = "node/install.sh"
CONSTRAINTS = "node/constraints.txt"
"""The versions that this package was tested with; a link to the checkout's file."""

# Files that pip and uv add when they install a wheel.
_OF_THE_INSTALLER = {"INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "RECORD"}


def workdir(folder: Path) -> Path:
    """The checkout if there is one; with an installed package, a folder below `folder`.

    That folder has a wheel of the package, `clip_assets/node/install.sh`, which installs it, and
    the pinned versions of other packages, so that a new release of one breaks no job.
    """
    if checkout := _checkout():
        return checkout
    wheel = _Wheel(distribution("clip-assets"))
    target = folder / f"{wheel.version}-{wheel.digest}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            made = Path(temporary) / "made"
            _fill(made, wheel)
            try:
                made.rename(target)
            except OSError:  # another process was first
                if not target.exists():
                    raise
    return target


def write_files(folder: Path, bucket: str | None = None) -> list[Path]:
    """Write the task files, and what their machines install, for use with `sky` itself.

    If a bucket is named, SkyPilot creates it, and the tasks keep ImageNet's data there unless
    their variables say otherwise. Returns the task files. Raises SettingsError if the folder
    exists.
    """
    if folder.exists():
        raise SettingsError(f"{folder} exists; choose a folder that does not.")
    if checkout := _checkout():
        folder.mkdir(parents=True)
    else:
        _fill(folder, _Wheel(distribution("clip-assets")))
    written = []
    for file in sorted(TASKS.glob("*.yaml")):
        task = file.read_text()
        if checkout:
            task = task.replace("\nworkdir: .\n", f"\nworkdir: {checkout}\n")
        written.append(folder / file.name)
        written[-1].write_text(_mounting(task, bucket) if bucket else task)
    return written


def bucket_name(user: str) -> str:
    """A unique name, because all customers of a cloud share one namespace of buckets."""
    return f"clip-assets-{re.sub('[^a-z0-9]+', '-', user.lower())[:20]}-{uuid4().hex[:8]}"


def _checkout() -> Path | None:
    """The checkout that the package is used from, if it is."""
    folder = PACKAGE.parent
    complete = (folder / ".skyignore").is_file() and (folder / "pyproject.toml").is_file()
    return folder if complete else None


def _mounting(task: str, bucket: str) -> str:
    mount = f"file_mounts:\n  /clip: {{name: {bucket}, mode: MOUNT_CACHED}}\n"
    for line, instead in {
        "  DATA: null\n": "  DATA: /clip\n",
        "  COLLECTION: null\n": "  COLLECTION: imagenet\n",
        '  SNAPSHOT: ""\n': "  SNAPSHOT: /clip/imagenet/snapshots\n",
        "\nsetup:": f"\n{mount}\nsetup:",
    }.items():
        task = task.replace(line, instead)
    return task


class _Wheel:
    """The installed package, packed again as the wheel it was installed from."""

    def __init__(self, installed: Distribution) -> None:
        record = installed.read_text("RECORD") or ""
        lines = {line.split(",")[0]: line for line in record.splitlines() if line}
        self._files = {
            path: Path(str(installed.locate_file(path)))
            for path in lines
            if not path.startswith(("..", "/"))
            and "__pycache__" not in path
            and path.rpartition("/")[2] not in _OF_THE_INSTALLER
        }
        if not any(path.startswith("clip_assets/") for path in self._files):
            raise SettingsError(
                "clip_assets is installed as a link to an incomplete checkout. Install a wheel, or "
                "use a complete checkout."
            )
        info = next(path for path in self._files if path.endswith(".dist-info/METADATA"))
        self._record_path = info.replace("METADATA", "RECORD")
        self._record = "\n".join(
            [*(lines[path] for path in self._files), f"{self._record_path},,", ""]
        )
        self.version = installed.version
        self.digest = hashlib.sha256(self._record.encode()).hexdigest()[:12]

    def write(self, folder: Path) -> None:
        name = f"clip_assets-{self.version}-py3-none-any.whl"
        with ZipFile(folder / name, "w", ZIP_DEFLATED) as wheel:
            for path, file in self._files.items():
                wheel.write(file, path)
            wheel.writestr(self._record_path, self._record)


def _fill(folder: Path, wheel: _Wheel) -> None:
    script = folder / "clip_assets" / INSTALL
    script.parent.mkdir(parents=True)
    shutil.copy(PACKAGE / INSTALL, script)
    shutil.copy(PACKAGE / CONSTRAINTS, folder)
    wheel.write(folder)
