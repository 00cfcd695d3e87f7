"""Detects a connection pooler that assigns a server connection for each transaction.

Behind such a pooler, for example PgBouncer in transaction mode, sessions are shared with other
clients: settings and prepared statements leak to them, and may be gone at the next transaction.
"""

import psycopg
from psycopg.rows import scalar_row


def behind_pooler(connection: psycopg.Connection) -> bool:
    """Whether the server process is not the one that answered when connecting.

    A pooler in session mode looks the same, and needs no different treatment to be safe.
    """
    pid = connection.cursor(row_factory=scalar_row).execute("SELECT pg_backend_pid()").fetchone()
    return bool(pid != connection.info.backend_pid)
