"""Stops an embedded Postgres when the last process that used it has ended, killed or not.

`server.py` runs it as a separate program that uses only the standard library:
`keeper.py FILE PG_CTL FOLDER [USER]`. Users of the server in FOLDER hold a shared lock on FILE.
"""

import fcntl
import signal
import subprocess
import sys
from pathlib import Path


def keep(file: str, pg_ctl: str, folder: str, user: str | None = None) -> None:
    # A terminal or service manager that ends all processes at once must not end this one first.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with Path(file).open() as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        stop = [pg_ctl, "stop", "-D", folder, "-m", "fast", "-w", "-t", "3600"]
        subprocess.run(stop, check=False, user=user)


if __name__ == "__main__":
    keep(*sys.argv[1:])
