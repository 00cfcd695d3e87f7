"""Run the Dockerfile's instructions without Docker, to try what the image does as its user.

    sudo python3.12 deploy/try_image.py ../photos-search /tmp/image -- dagster --version

The first call executes the target's RUN and COPY instructions in an overlay of this machine's root,
which is kept in the given folder. Every call then runs the command, by default the image's own, as
the image would: its user, environment and folder. Checkout and project cannot be seen from there.
Python is the one that runs this script, not the base image's, and all stages share one root.

`--leave-out REGEX` drops text from RUN lines, such as an index that cannot be reached from here.
Options come first. Needs Linux and root. Ports are this machine's own.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
_NAMESPACE = "CLIP_ASSETS_TRY_IMAGE"
_OURS = re.compile(r"(PIP|UV|SSL|REQUESTS|CURL|AWS_CA)_.*|.*_(PROXY|proxy)|TERM|LANG")


@dataclass
class Stage:
    """One FROM of the Dockerfile with what follows it."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)


def stages(text: str) -> dict[str, Stage]:
    """The named stages, in their order."""
    found: dict[str, Stage] = {}
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in filter(None, map(str.strip, lines.replace("\\\n", " ").splitlines())):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            base, name = rest.split(" AS ")
            stage = found[name] = Stage(base)
        elif found:
            stage.steps.append((instruction, rest.strip()))
    return found


def needed(found: dict[str, Stage], target: str) -> Iterator[str]:
    """The stages that the target is made of, each after those it needs."""
    stage = found.get(target)
    if stage is None:  # an image that is pulled
        return
    yield from needed(found, stage.base)
    for instruction, rest in stage.steps:
        if instruction == "COPY" and (other := re.match(r"--from=(\S+)", rest)):
            yield from needed(found, other[1])
    yield target


def environment(found: dict[str, Stage], name: str) -> dict[str, str]:
    """ARG and ENV of a stage and those it is based on."""
    stage = found.get(name)
    if stage is None:
        given = {key: value for key, value in os.environ.items() if _OURS.fullmatch(key)}
        return given | {
            "PATH": "/opt/python/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LD_LIBRARY_PATH": "/opt/python/lib",
        }
    env = environment(found, stage.base)
    for instruction, rest in stage.steps:
        if instruction in ("ARG", "ENV"):
            for one in shlex.split(rest):
                key, _, value = one.partition("=")
                env[key] = value.replace("$PATH", env["PATH"])
    return env


def folder_of(found: dict[str, Stage], name: str) -> str:
    """WORKDIR at the end of a stage."""
    stage = found.get(name)
    if stage is None:
        return "/"
    return dict(stage.steps).get("WORKDIR") or folder_of(found, stage.base)


class Image:
    """The root in which the instructions are executed."""

    def __init__(self, folder: Path, project: Path, leave_out: str | None) -> None:
        self.folder, self.project, self.leave_out = folder, project, leave_out
        self.root = folder / "root"
        for name in ("upper", "work", "root"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        layers = f"lowerdir=/,upperdir={folder / 'upper'},workdir={folder / 'work'}"
        _run("mount", "-t", "overlay", "overlay", "-o", layers, str(self.root))
        _run("mount", "-t", "proc", "proc", str(self.root / "proc"))
        _run("mount", "--bind", "/dev", str(self.root / "dev"))
        for hidden in (CHECKOUT, project):
            _run("mount", "-t", "tmpfs", "tmpfs", str(self._inside(str(hidden))))

    def build(self, found: dict[str, Stage], target: str) -> None:
        self._install_python()
        for name in dict.fromkeys(needed(found, target)):
            env, where = environment(found, name), folder_of(found, found[name].base)
            for instruction, rest in found[name].steps:
                if instruction in ("RUN", "COPY", "WORKDIR"):
                    print(f"[{name}] {instruction} {rest}", flush=True)
                if instruction == "WORKDIR":
                    where = rest
                    self._inside(where).mkdir(parents=True, exist_ok=True)
                elif instruction == "RUN":
                    line = re.sub(self.leave_out, "", rest) if self.leave_out else rest
                    self.run(["sh", "-ec", line], env, where)
                elif instruction == "COPY":
                    self._copy(rest, where)

    def _install_python(self) -> None:
        to = self.root / "opt/python"
        shutil.copytree(sys.base_prefix, to, symlinks=True)
        old, new = f"#!{sys.base_prefix}/".encode(), b"#!/opt/python/"
        for script in (to / "bin").iterdir():
            if script.is_file() and script.read_bytes().startswith(old):
                script.write_bytes(script.read_bytes().replace(old, new, 1))

    def run(self, command: list[str], env: dict[str, str], where: str, user: str = "0") -> None:
        """Raises CalledProcessError if it fails."""
        change = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        inside = ["chroot", str(self.root), *change, "env", "-C", where, "-i"]
        _run(*inside, *(f"{key}={value}" for key, value in env.items()), *command)

    def _copy(self, rest: str, where: str) -> None:
        options = dict(re.findall(r"--(\w+)=(\S+)", rest))
        *names, target = [word for word in rest.split() if not word.startswith("--")]
        to = self._inside(str(Path(where, target)))
        source = CHECKOUT
        if options.get("from") == "project":
            source = self.project
        elif "from" in options:
            return  # the same path of the same root
        ignored = shutil.ignore_patterns("__pycache__", ".env*", ".venv", ".clip_assets", ".git")
        for name in names:
            given = source / name
            if given.is_dir():
                shutil.copytree(given, to, symlinks=True, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy(given, to)
        if "chown" in options:
            _run(
                "chroot", str(self.root), "chown", "-R", options["chown"], str(Path(where, target))
            )

    def _inside(self, path: str) -> Path:
        return self.root / path.lstrip("/")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("project", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--leave-out")
    parser.add_argument("--env", "-e", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("command", nargs="*")
    asked = parser.parse_args()
    if _NAMESPACE not in os.environ:  # mounts of a namespace end with it
        apart = ["unshare", "--mount", "--fork", sys.executable, *sys.argv]
        return subprocess.run(apart, env={**os.environ, _NAMESPACE: "1"}, check=False).returncode
    found = stages((CHECKOUT / "deploy/Dockerfile").read_text())
    folder = asked.folder.resolve()
    image = Image(folder, asked.project.resolve(), asked.leave_out)
    try:
        if not (folder / "built").exists():
            image.build(found, asked.target)
            (folder / "built").touch()
        steps = found[asked.target].steps
        command = asked.command or json.loads(dict(steps)["CMD"])
        env = environment(found, asked.target) | {"HOME": "/home/app"}
        env |= dict(one.split("=", 1) for one in asked.env)
        image.run(command, env, folder_of(found, asked.target), dict(steps)["USER"])
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
