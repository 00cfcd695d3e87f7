"""A collection whose SQL schema belongs to another application is refused at once."""

import psycopg
import pytest

from clip_assets.errors import DatabaseError
from clip_assets.index import owner
from clip_assets.search import search
from tests.integration.support import COLLECTION, Made, publish, reconcile

FOREIGN = ["TABLE photos.theirs (a int)", "FUNCTION photos.f() RETURNS int RETURN 1",
           "TYPE photos.t AS ENUM ('a')"]  # fmt: skip


@pytest.mark.parametrize("thing", FOREIGN)
def test_a_schema_of_another_application(
    connection: psycopg.Connection, made: Made, thing: str
) -> None:
    """The error names it before anything is loaded, and the schema stays as it is."""
    connection.execute("CREATE SCHEMA photos")
    connection.execute(f"CREATE {thing}")  # type: ignore[arg-type]
    with pytest.raises(DatabaseError, match=r"The schema photos .* Name the collection"):
        reconcile(connection, made)
    for name in ("ledger", "index", "owner"):
        assert connection.execute(f"SELECT FROM clip_assets.{name}").fetchone() is None  # type: ignore[arg-type]


def test_an_empty_schema_is_ours(connection: psycopg.Connection, made: Made) -> None:
    """An administrator may have created it for us, with default privileges."""
    connection.execute("CREATE SCHEMA photos")
    connection.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA photos GRANT SELECT ON TABLES TO public")
    assert publish(connection, made).rows == 200
    connection.execute("CREATE VIEW photos.mine AS SELECT 1")
    assert reconcile(connection, made).loaded == []


def test_a_role_that_may_not_create_the_schema(connection: psycopg.Connection, made: Made) -> None:
    """It is told so at once, instead of after the build; with an empty schema of its own it need
    not be allowed to create others."""
    index = reconcile(connection, made).index
    connection.execute("CREATE ROLE builder IN ROLE clip_loader")
    connection.execute("GRANT builder TO CURRENT_USER")
    try:
        connection.execute("SET ROLE builder")
        with pytest.raises(DatabaseError, match="may not create views in the schema photos"):
            owner.claim(connection, made.objects, COLLECTION)
        connection.execute("RESET ROLE")
        connection.execute("CREATE SCHEMA photos AUTHORIZATION builder")
        connection.execute("SET ROLE builder")
        owner.claim(connection, made.objects, COLLECTION)
    finally:
        connection.execute("RESET ROLE")
        connection.execute("DROP OWNED BY builder; DROP ROLE builder")
    assert index.collection == COLLECTION


def test_publishing_into_a_schema_that_an_administrator_made(
    connection: psycopg.Connection, made: Made
) -> None:
    """No right to create schemas is needed."""
    connection.execute("CREATE SCHEMA photos")
    publish(connection, made)
    assert search.live(connection).rows == 200
