"""Whether something between us and Postgres lends its connections for a transaction at a time.

Behind such a pooler, as pgbouncer in transaction mode, a session is shared with other clients: what
is set or prepared in it is theirs too, and may be gone at the next transaction.
"""

import psycopg
from psycopg.rows import scalar_row


def behind_pooler(connection: psycopg.Connection) -> bool:
    """Whether the server's process is another than the one that answered when connecting.

    A pooler in session mode looks the same, and needs no different treatment to be safe.
    """
    pid = connection.cursor(row_factory=scalar_row).execute("SELECT pg_backend_pid()").fetchone()
    return bool(pid != connection.info.backend_pid)
