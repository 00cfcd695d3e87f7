"""What Postgres' own errors mean for a user, and what to do about them."""

import psycopg
from psycopg import errors


def explained(error: psycopg.Error) -> str | None:
    """A sentence with the remedy, or None if the error needs its traceback."""
    reason = (error.diag.message_primary or str(error).strip().split("\n")[0]).rstrip(".")
    match error:
        case errors.ReadOnlySqlTransaction():
            return (
                f"Postgres refused to write: {reason}. Set DATABASE_URL to the primary server; "
                "only searches may use a standby."
            )
        case errors.InsufficientPrivilege():
            return (
                f"Postgres refused: {reason}. Run this as the role that owns the schema "
                "clip_assets; docs/postgres.md lists what each role needs."
            )
        case errors.QueryCanceled() | errors.IdleInTransactionSessionTimeout():
            return (
                f"Postgres ended the statement: {reason}. Run the command again, with a higher "
                "limit for this role or at a quieter time; committed work is kept."
            )
        case errors.DiskFull() | errors.OutOfMemory() | errors.TooManyConnections():
            return f"Postgres ran out of a resource: {reason}. Free some and run this again."
        case errors.OperationalError():
            return (
                f"The connection to Postgres was lost: {reason}. Run the command again: what was "
                "committed stays."
            )
    return None
