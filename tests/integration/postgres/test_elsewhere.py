"""Servers as people have them: from parquet to a search by owners who are no superusers."""

import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psycopg
import pytest
from psycopg import errors

from clip_assets.errors import DatabaseError
from clip_assets.postgres import pgvector
from clip_assets.postgres.connect import another_connection, connect_owner, connect_reader
from clip_assets.release import release
from clip_assets.search import search
from clip_assets.settings import Settings
from tests.integration.support import Made, clustered, exact, find, publish
from tests.pooler import CONNECTIONS, pooler
from tests.provider import Provider

QUERY = clustered(1, 77)[0]
K = 5
SESSION = """
SELECT name, setting FROM pg_settings
WHERE source NOT IN ('default', 'configuration file') AND name <> 'application_name'
UNION ALL SELECT 'prepared', count(*)::text FROM pg_prepared_statements ORDER BY 1
"""
LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


def superuser(server: Provider) -> str:
    with server.administrator() as connection:
        connection.execute("CREATE DATABASE theirs")
    return server.address(database="theirs")


def createrole(server: Provider) -> str:
    return server.owner("CREATEROLE")


def plain(server: Provider) -> str:
    return server.owner()


def extension_elsewhere(server: Provider) -> str:
    return server.owner(extension="Of Extensions")


def no_search_path(server: Provider) -> str:
    return _set(server, server.owner(), "search_path", "")


def other_formats(server: Provider) -> str:
    """What Postgres sends looks otherwise, as for another country."""
    address = server.owner()
    for name, value in (
        ("client_encoding", "LATIN1"), ("DateStyle", "SQL, DMY"), ("bytea_output", "escape"),
        ("IntervalStyle", "sql_standard"), ("default_transaction_isolation", "serializable"),
    ):  # fmt: skip
        _set(server, address, name, value)
    return address


def roles_of_the_administrator(server: Provider) -> str:
    with server.administrator() as connection:
        connection.execute("CREATE ROLE clip_reader")
        connection.execute("CREATE ROLE clip_loader")
    return server.owner()


KINDS = [
    superuser, createrole, plain, extension_elsewhere, no_search_path, other_formats,
    roles_of_the_administrator,
]  # fmt: skip


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Settings]:
    """The settings of an installation whose database has this address."""

    def settings(address: str) -> Settings:
        monkeypatch.setenv("DATABASE_URL", address)
        return Settings(_env_file=None)

    return settings


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_way(
    elsewhere: Provider,
    kind: Callable[[Provider], str],
    use: Callable[[str], Settings],
    made: Made,
    other: Made,
) -> None:
    """Load, judge, publish, switch the model, roll back; search by our code and by SQL."""
    settings = use(kind(elsewhere))
    right = exact(made.rows(), QUERY, K)
    with connect_owner(settings) as owner:
        first = publish(owner, made)
        assert publish(owner, other).id > first.id
        assert release.roll_back(owner, first.collection).id == first.id
        found = owner.execute("SELECT image_id FROM photos.search(%s::text::"
                              f"{_quoted(pgvector.schema(owner))}.halfvec, %s)",
                              [_text(QUERY), K])  # fmt: skip
        assert [image for (image,) in found] == right
    with connect_reader(settings) as reader:
        hits = search.search(reader, search.live(reader), QUERY, K).hits
    assert [hit.image_id for hit in hits] == right


@pytest.mark.parametrize("kind", [superuser, createrole])
def test_an_owner_that_may_create_roles_may_use_them(
    elsewhere: Provider,
    kind: Callable[[Provider], str],
    use: Callable[[str], Settings],
    made: Made,
) -> None:
    """It can act as clip_reader, which reads and does nothing else."""
    with connect_owner(use(kind(elsewhere))) as owner:
        publish(owner, made)
        owner.execute("SET ROLE clip_reader")
        rows = owner.execute("SELECT count(*) FROM photos.images").fetchone()
        assert rows == (len(made.rows()),)
        with pytest.raises(errors.InsufficientPrivilege):
            owner.execute("DELETE FROM clip_assets.live")


def test_that_there_are_no_roles_is_said_once(
    elsewhere: Provider, use: Callable[[str], Settings], caplog: pytest.LogCaptureFixture
) -> None:
    """An owner without CREATEROLE is told when the schema is set up, and not again."""
    settings = use(plain(elsewhere))
    connect_owner(settings).close()
    connect_owner(settings).close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "may not create roles" in caplog.text


def test_roles_created_later_get_their_rights(
    elsewhere: Provider, use: Callable[[str], Settings], made: Made
) -> None:
    """Once an administrator has created them, the owner's next connection grants the rights."""
    address = plain(elsewhere)
    settings = use(address)
    with connect_owner(settings) as owner:
        publish(owner, made)
    with elsewhere.administrator() as administrator:
        administrator.execute("CREATE ROLE clip_reader")
        administrator.execute("CREATE ROLE clip_loader")
    connect_owner(settings).close()
    database = psycopg.conninfo.conninfo_to_dict(address)["dbname"]
    with elsewhere.administrator(str(database)) as reader:
        reader.execute("SET ROLE clip_reader")
        assert reader.execute("SELECT count(*) FROM photos.images").fetchone() == (200,)


def test_a_restored_dump_answers_as_before(
    elsewhere: Provider, use: Callable[[str], Settings], made: Made
) -> None:
    """pg_dump leaves roles and their rights behind: the owner's first connection heals them, and
    the next publication the functions, which only a superuser could restore."""
    address = createrole(elsewhere)
    with connect_owner(use(address)) as owner:
        publish(owner, made)
        answers = _answers(owner)
    dump = elsewhere.folder / "photos.dump"
    elsewhere.run("pg_dump", "--format=custom", f"--file={dump}", elsewhere.address(
        database=str(psycopg.conninfo.conninfo_to_dict(address)["dbname"])))  # fmt: skip
    elsewhere.forget()
    restored = createrole(elsewhere)
    # Of a role that is no superuser, pg_restore creates no function with `hnsw` settings, and ends
    # with an error after the rest.
    with suppress(subprocess.CalledProcessError):
        elsewhere.run("pg_restore", "--no-owner", "--no-acl", f"--dbname={restored}", str(dump))
    settings = use(restored)
    with connect_owner(settings) as owner:
        assert release.missing_relations(owner, "photos") == ["search", "search_where", "similar"]
        publish(owner, made)
        assert release.missing_relations(owner, "photos") == []
    with connect_reader(settings) as reader:
        reader.execute("SET ROLE clip_reader")
        assert _answers(reader) == answers


@pytest.mark.skipif(
    shutil.which("pgbouncer") is None, reason="needs PgBouncer: apt-get install pgbouncer"
)
def test_an_owner_behind_a_pooler(
    elsewhere: Provider,
    use: Callable[[str], Settings],
    open_folder: Callable[[], Path],
    made: Made,
    other: Made,
) -> None:
    """The whole way works, and leaves nothing in the sessions that other clients get."""
    right = exact(made.rows(), QUERY, K)
    with pooler(elsewhere, plain(elsewhere), open_folder()) as address:
        with psycopg.connect(address, autocommit=True) as client:
            before = client.execute(SESSION).fetchall()
        with connect_owner(use(address)) as owner:
            first = publish(owner, made)
            publish(owner, other)
            assert release.roll_back(owner, first.collection).id == first.id
            for _ in range(20):
                hits = search.search(owner, search.live(owner), QUERY, K).hits
                assert [hit.image_id for hit in hits] == right
        for _ in range(2 * CONNECTIONS):
            with psycopg.connect(address, autocommit=True) as client:
                assert client.execute(SESSION).fetchall() == before


def test_time_limits_do_not_reach_loads_and_builds(
    elsewhere: Provider, use: Callable[[str], Settings]
) -> None:
    """Limits that a provider sets for the role are lifted on every connection of the owner."""
    address = plain(elsewhere)
    for limit in LIMITS:
        _set(elsewhere, address, limit, "2s")
    with connect_owner(use(address)) as owner, another_connection(owner) as loader:
        for connection in (owner, loader):
            connection.execute("SELECT pg_sleep(2.5)")
            limits = connection.execute(
                "SELECT setting FROM pg_settings WHERE name = ANY(%s)", [[*LIMITS]]
            ).fetchall()
            assert limits == [("0",)] * len(LIMITS)


def test_a_read_only_server_is_named(elsewhere: Provider, use: Callable[[str], Settings]) -> None:
    """What writes says that the address must be the primary's."""
    address = _set(elsewhere, plain(elsewhere), "default_transaction_read_only", "on")
    with pytest.raises(DatabaseError, match="is read-only, as a standby is"):
        connect_owner(use(address))


def test_a_database_that_cannot_hold_every_name_is_refused(
    elsewhere: Provider, use: Callable[[str], Settings]
) -> None:
    """It would not hold what was embedded; the error says how to make one that does."""
    with elsewhere.administrator() as connection:
        connection.execute("CREATE DATABASE theirs ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(DatabaseError, match=r"encoding LATIN1.* Create one with ENCODING 'UTF8'"):
        connect_owner(use(elsewhere.address(database="theirs")))


def test_no_extension_and_no_right_to_install_it(
    elsewhere: Provider, use: Callable[[str], Settings]
) -> None:
    """The remedy is one statement for the administrator; nothing is left behind."""
    settings = use(elsewhere.owner(extension=None))
    for _ in range(2):
        with pytest.raises(DatabaseError, match="administrator to run CREATE EXTENSION vector in"):
            connect_owner(settings)


def test_a_role_that_may_create_nothing(
    elsewhere: Provider, use: Callable[[str], Settings]
) -> None:
    """It is told the one statement that its administrator must run, by name."""
    address = plain(elsewhere)
    parts = psycopg.conninfo.conninfo_to_dict(address)
    with elsewhere.administrator() as administrator:
        administrator.execute(f"ALTER DATABASE {parts['dbname']} OWNER TO postgres")
    wanted = f"GRANT CREATE ON DATABASE {parts['dbname']} TO {parts['user']}"
    with pytest.raises(DatabaseError, match=wanted):
        connect_owner(use(address))


def test_a_materialized_view_over_search_can_be_refreshed(
    elsewhere: Provider, use: Callable[[str], Settings], made: Made
) -> None:
    """REFRESH runs with an empty search path: the functions bring what they need."""
    with connect_owner(use(extension_elsewhere(elsewhere))) as owner:
        publish(owner, made)
        index = find(owner, made)
        owner.execute(
            "CREATE MATERIALIZED VIEW near AS SELECT * FROM photos.search("  # type: ignore[arg-type]
            f"(SELECT embedding FROM clip_assets.images_{index.index_id} LIMIT 1)::"
            f"{_quoted(pgvector.schema(owner))}.halfvec, 3)"
        )
        owner.execute("REFRESH MATERIALIZED VIEW near")
        assert owner.execute("SELECT count(*) FROM near").fetchone() == (3,)


def _set(server: Provider, address: str, setting: str, value: str) -> str:
    """Set it for the role that the address names; returns the address."""
    user = psycopg.conninfo.conninfo_to_dict(address)["user"]
    with server.administrator() as connection:
        connection.execute(f"ALTER ROLE {user} SET {setting} = '{value}'")  # type: ignore[arg-type]
    return address


def _answers(connection: psycopg.Connection) -> list[list[str]]:
    live = search.live(connection)
    queries = clustered(1000, 5)
    return [
        [hit.image_id for hit in search.search(connection, live, query, K).hits]
        for query in queries
    ]


def _quoted(name: str) -> str:
    return '"' + name + '"'


def _text(vector: np.ndarray) -> str:
    return str(vector.tolist())
