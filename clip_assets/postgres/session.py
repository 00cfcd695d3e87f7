"""Settings that a connection needs, whatever the defaults of its database or role."""

import psycopg

from clip_assets.errors import DatabaseError

ENCODING = "UTF8"
"""Used for all text that is sent and read, also by binary COPY; a database's default may differ."""

ISOLATION = ("default_transaction_isolation", "read committed")


def unusual(connection: psycopg.Connection) -> dict[str, str]:
    """The settings that must be changed for psycopg to read what the server sends."""
    style = connection.info.parameter_status("DateStyle") or "ISO"
    return {} if style.startswith("ISO") else {"DateStyle": "ISO"}


def require_utf8(connection: psycopg.Connection) -> None:
    """Raises DatabaseError if the database cannot hold every name."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in (None, ENCODING):
        raise DatabaseError(
            f"The database {connection.info.dbname} has the encoding {encoding}, which cannot hold "
            "every name and caption. Create one with ENCODING 'UTF8' TEMPLATE template0, and name "
            "it in DATABASE_URL."
        )
