"""The version of pgvector that an index needs."""

import psycopg
from psycopg.rows import scalar_row

from clip_assets.errors import DatabaseError

FLOOR = (0, 8, 4)
"""0.8.0 introduced iterative index scans, which filters and refreshed shards rely on. Every erasure
ends with a VACUUM, which could damage an HNSW before 0.8.3; before 0.8.4 it or a concurrent insert
could fail (pgvector's CHANGELOG)."""

_VERSION = """
SELECT coalesce(installed_version, default_version) FROM pg_available_extensions
WHERE name = 'vector'
"""


def require_pgvector(connection: psycopg.Connection) -> None:
    """Check the version installed in the database, or the one that would be installed.

    Raises DatabaseError if pgvector is missing or too old.
    """
    version: str | None = connection.cursor(row_factory=scalar_row).execute(_VERSION).fetchone()
    if version is None:
        raise DatabaseError(
            "This Postgres has no pgvector. Install the package (postgresql-NN-pgvector on "
            "Debian, or your provider's switch), or unset DATABASE_URL to use the embedded server."
        )
    if tuple(int(number) for number in version.split(".")) < FLOOR:
        floor = ".".join(map(str, FLOOR))
        raise DatabaseError(
            f"This Postgres has pgvector {version}; {floor} or newer is needed. Upgrade the "
            "package, then run ALTER EXTENSION vector UPDATE."
        )
