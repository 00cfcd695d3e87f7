"""Dagster whose daemon looks for backfills every three seconds instead of every thirty.

    python -m tests.acceptance.eager_dagster dg dev --port 3000

`dg dev` starts its daemon as a process of its own; here that process is this program again.
"""

import signal
import sys

from dagster_dg_cli.cli import main as dg

from tests.dagster_private import daemon, start_daemon_by, tick_every

if __name__ == "__main__":
    # A shell's background jobs ignore SIGINT, and so would all that this starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    which = sys.argv.pop(1)
    if which == "dg":
        start_daemon_by([sys.executable, "-m", "tests.acceptance.eager_dagster", "daemon"])
        dg()
    else:
        tick_every(3)
        daemon()
