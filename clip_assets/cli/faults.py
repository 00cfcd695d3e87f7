"""What the system's errors mean for a user, and what to do about them."""

import errno

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)


def explained(error: OSError) -> str | None:
    """A sentence with the remedy, or None if the error needs its traceback."""
    where = error.filename2 or error.filename or "The output"
    if isinstance(where, bytes):
        where = where.decode(errors="backslashreplace")
    said = f"{where} cannot be used: {error.strerror}."
    if error.errno in _DENIED:
        return f"{said} Give this user access to it, or set CLIP_ASSETS_HOME to another folder."
    if error.errno in _FULL:
        return f"{said} Free some space, then run again: what is finished is kept."
    if error.errno in _TOO_MANY_FILES:
        return f"{said} Allow more open files, such as `ulimit -n 4096`, then run again."
    return None
