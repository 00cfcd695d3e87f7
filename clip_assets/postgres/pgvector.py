"""The pgvector that an index needs: its version, its schema, its library."""

import logging

import psycopg
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import scalar_row

from clip_assets.errors import DatabaseError

logger = logging.getLogger(__name__)

FLOOR = (0, 8, 0)
"""0.8.0 introduced iterative index scans, which filters and refreshed shards rely on."""

SAFE = (0, 8, 4)
"""Every erasure ends with a VACUUM, which could damage an HNSW before 0.8.3; before 0.8.4 it or a
concurrent insert could fail (pgvector's CHANGELOG)."""

SCHEMA = sql.SQL(
    "(SELECT nspname FROM pg_catalog.pg_namespace AS n "
    "JOIN pg_catalog.pg_extension AS e ON e.extnamespace = n.oid WHERE e.extname = 'vector')"
)
"""For statements: the schema that the extension is installed in, NULL if it is not."""

_VERSION = """
SELECT coalesce(installed_version, default_version) FROM pg_available_extensions
WHERE name = 'vector'
"""


def schema(connection: psycopg.Connection) -> str:
    """The schema that the extension is installed in."""
    found = _schema(connection)
    assert found is not None, "a migrated database has the extension"
    return found


def install(connection: psycopg.Connection) -> None:
    """Install the extension, unless the database has it.

    Most providers let the owner of a database do so. Raises DatabaseError if this role may not.
    """
    if _schema(connection) is not None:
        return
    creating = sql.SQL("CREATE EXTENSION vector SCHEMA {}")
    try:
        connection.execute(creating.format(sql.Identifier(_where_to_install(connection))))
    except InsufficientPrivilege as error:
        raise DatabaseError(
            f"The role {connection.info.user} may not install pgvector. Ask an administrator to "
            f"run CREATE EXTENSION vector in the database {connection.info.dbname}."
        ) from error


def load_library(connection: psycopg.Connection) -> None:
    """Load pgvector's library into this session.

    The library defines the `hnsw` settings. Before it does, only a superuser may name them in a
    function's SET clause.
    """
    vector = sql.Identifier(schema(connection), "vector")
    connection.execute(sql.SQL("SELECT '[1]'::{}").format(vector))


def require_pgvector(connection: psycopg.Connection, *, allow_old: bool = False) -> None:
    """Check the version installed in the database, or the one that would be installed.

    `allow_old` permits 0.8.0 to 0.8.3, which some providers offer, with a warning. Raises
    DatabaseError if pgvector is missing or too old.
    """
    version: str | None = connection.cursor(row_factory=scalar_row).execute(_VERSION).fetchone()
    if version is None:
        raise DatabaseError(
            "This Postgres has no pgvector. Install the package (postgresql-NN-pgvector on "
            "Debian, or your provider's switch), or unset DATABASE_URL to use the embedded server."
        )
    numbers = tuple(int(number) for number in version.split("."))
    if numbers >= SAFE:
        return
    risk = (
        f"This Postgres has pgvector {version}, in which a VACUUM or a concurrent insert can "
        f"damage the index or fail; {_text(SAFE)} fixes this."
    )
    if numbers < FLOOR:
        raise DatabaseError(
            f"This Postgres has pgvector {version}; {_text(SAFE)} or newer is needed. Upgrade the "
            "package, then run ALTER EXTENSION vector UPDATE."
        )
    if not allow_old:
        raise DatabaseError(
            f"{risk} Upgrade the package and run ALTER EXTENSION vector UPDATE, or set "
            "CLIP_ASSETS_ALLOW_OLD_PGVECTOR=true to take the risk."
        )
    logger.warning(risk)


def _schema(connection: psycopg.Connection) -> str | None:
    cursor = connection.cursor(row_factory=scalar_row)
    found: str | None = cursor.execute(sql.SQL("SELECT {}").format(SCHEMA)).fetchone()
    return found


def _where_to_install(connection: psycopg.Connection) -> str:
    """`public`, where users' queries find the types, or our own schema if there is no `public`."""
    cursor = connection.cursor(row_factory=scalar_row)
    public = cursor.execute("SELECT to_regnamespace('public') IS NOT NULL").fetchone()
    return "public" if public else "clip_assets"


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
