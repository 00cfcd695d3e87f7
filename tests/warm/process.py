"""A forked process becomes what a caller asked for, as far as the program can tell."""

import atexit
import fcntl
import multiprocessing.spawn
import os
import runpy
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

FIRST_FREE = 1000
"""Files of the caller are kept from here on until everything below is closed."""


@dataclass(frozen=True)
class Request:
    """What to run, and with what; `files` are the caller's numbers of the files received."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    executable: str
    files: list[int]
    received: list[int]


def run(request: Request) -> None:
    """Run it to its end, which is the end of this process."""
    code = _status(request)
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError):  # closed by the program
            stream.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)  # without the seconds that it takes to take all packages apart


def _status(request: Request) -> int:
    """The exit status, or that of a signal below 0."""
    try:
        _become(request)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        return -signal.SIGINT
    except BaseException:  # an interpreter ends so, whatever it is
        traceback.print_exc()
        return 1
    return 0


def _become(request: Request) -> None:
    os.setsid()
    _take_files(request)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    sys.executable = request.executable
    multiprocessing.spawn.set_executable(request.executable)
    sys.orig_argv = [request.executable, *request.arguments]
    sys.modules["__main__"] = fresh = ModuleType("__main__")
    option, *rest = request.arguments
    folders = {"-m": request.folder, "-c": ""}
    first = folders.get(option, str(Path(option).resolve().parent))
    added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [first, *filter(None, added)]
    if option == "-m":
        sys.argv = rest
        runpy._run_module_as_main(rest[0])  # type: ignore[attr-defined]
    elif option == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), fresh.__dict__)
    else:
        sys.argv = request.arguments
        runpy.run_path(option, run_name="__main__")


def _take_files(request: Request) -> None:
    """The caller's open files under the numbers that they have there, and no others."""
    kept = [fcntl.fcntl(file, fcntl.F_DUPFD, FIRST_FREE) for file in request.received]
    os.closerange(0, FIRST_FREE)
    for file, number in zip(kept, request.files, strict=True):
        os.dup2(file, number)
    os.closerange(FIRST_FREE, FIRST_FREE + len(kept))
