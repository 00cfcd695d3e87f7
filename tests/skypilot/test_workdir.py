"""What a machine receives of a checkout."""

import shutil
from pathlib import Path

import yaml

from tests.skypilot.command_line import PROJECT, sky

CANARY = "w3aver"


def test_no_secret_reaches_a_machine(tmp_path: Path) -> None:
    """A canary in `.env` is found nowhere below a machine's home; the package is there."""
    checkout = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".git", ".venv", ".clip_assets", "__pycache__")
    shutil.copytree(PROJECT, checkout, symlinks=True, ignore=ignored)
    for name in (".env", "clip_assets/.env", ".git/config"):
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text(f"HF_TOKEN={CANARY}\n")
    task = {
        "name": "canary",
        "workdir": str(checkout),
        "resources": {"infra": "slurm/cluster", "cpus": 1, "memory": 1},
        # Quoted apart, so that the command itself is not found.
        "run": "test -f clip_assets/node/install.sh && ! test -e tests && "
        f"! grep -rlF '{CANARY[:3]}''{CANARY[3:]}' ~ --exclude-dir=.sky_logs",
    }
    (tmp_path / "canary.yaml").write_text(yaml.safe_dump(task))
    sky("launch", "--yes", "--down", "--cluster", "canary", str(tmp_path / "canary.yaml"))
