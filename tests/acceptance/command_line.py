"""`clip-assets` as it is, over the project in the current folder instead of this repository.

cd PROJECT && python -m tests.acceptance.command_line backfill photos
"""

from pathlib import Path

from clip_assets.cli import backfill
from clip_assets.cli.app import app

if __name__ == "__main__":
    backfill.PROJECT = Path.cwd()
    app()
