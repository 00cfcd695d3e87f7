"""Whom the service acts as, on servers where somebody else decides about roles."""

import logging
from collections.abc import Callable

import psycopg
import pytest
from psycopg import errors

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from clip_assets.postgres.migrate import migrate
from serving.reader import Reader
from tests import web
from tests.integration.serving.support import (
    IMPATIENT,
    drawn,
    publish,
    running,
    settings,
    wait_until_ready,
    wait_until_unready,
)
from tests.provider import PASSWORD, Provider

PICTURES = [drawn(number) for number in range(4)]
SAID = "only read-only transactions keep this service from writing"


@pytest.fixture
def release(tiny_spec: ModelSpec, tiny: Encoder) -> Callable[[str], str]:
    def release(address: str) -> str:
        vectors = tiny.encode_images([picture.image for picture in PICTURES])
        with psycopg.connect(address, autocommit=True) as connection:
            migrate(connection)
            publish(connection, tiny_spec, tiny.identity, PICTURES, vectors)
        return address

    return release


def with_roles(server: Provider, release: Callable[[str], str]) -> str:
    return release(server.owner("CREATEROLE"))


def without_roles(server: Provider, release: Callable[[str], str]) -> str:
    return release(server.owner())


def roles_that_may_not_be_set(server: Provider, release: Callable[[str], str]) -> str:
    with server.administrator() as connection:
        connection.execute("CREATE ROLE clip_reader")
        connection.execute("CREATE ROLE clip_loader")
    return release(server.owner())


def roles_of_another_database(server: Provider, release: Callable[[str], str]) -> str:
    """As after a restore: the role may be set, but has no rights here."""
    address = release(server.owner())
    with server.administrator() as connection:
        connection.execute("CREATE ROLE clip_reader")
        user = psycopg.conninfo.conninfo_to_dict(address)["user"]
        connection.execute(f"GRANT clip_reader TO {user}")
    return address


@pytest.mark.parametrize(
    ("kind", "reader"),
    [
        (with_roles, True),
        (without_roles, False),
        (roles_that_may_not_be_set, False),
        (roles_of_another_database, False),
    ],
)
def test_searches_work_with_and_without_roles(
    elsewhere: Provider,
    release: Callable[[str], str],
    kind: Callable[[Provider, Callable[[str], str]], str],
    reader: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The service acts as clip_reader if it may; otherwise it guards itself by read-only sessions,
    and says so once."""
    address = kind(elsewhere, release)
    with caplog.at_level(logging.WARNING), running(settings(address, refresh_seconds=0.1)) as url:
        wait_until_ready(url)
        found = web.post(f"{url}/v1/search", json={"text": "x", "k": 4})
        assert len(found.raise_for_status().json()["hits"]) == 4
    assert sum(SAID in record.getMessage() for record in caplog.records) == (not reader)
    with Reader.connect(address, autocommit=True) as connection:
        connection.guard(5)
        assert connection.acts_as_reader == reader
        with pytest.raises((errors.ReadOnlySqlTransaction, errors.InsufficientPrivilege)):
            connection.execute("CREATE TABLE clip_assets.mine (x int)")


@pytest.mark.parametrize("kind", [with_roles, without_roles])
def test_a_user_who_may_not_read_is_told_what_to_ask_for(
    elsewhere: Provider,
    release: Callable[[str], str],
    kind: Callable[[Provider, Callable[[str], str]], str],
) -> None:
    """The service is not ready and names the statements; once they have run, it answers."""
    address = kind(elsewhere, release)
    with elsewhere.administrator() as connection:
        password = psycopg.sql.Literal(PASSWORD).as_string()
        connection.execute(f'CREATE ROLE "A visitor" LOGIN PASSWORD {password}')
    visitor = psycopg.conninfo.make_conninfo(address, user="A visitor")
    remedies = {
        with_roles: ['GRANT clip_reader TO "A visitor"'],
        without_roles: [
            'GRANT USAGE ON SCHEMA clip_assets TO "A visitor"',
            'GRANT SELECT ON ALL TABLES IN SCHEMA clip_assets TO "A visitor"',
        ],
    }[kind]
    with running(settings(visitor, **IMPATIENT)) as url:
        wait_until_unready(url, f"Ask an administrator to run {'; '.join(remedies)}.")
        with psycopg.connect(address, autocommit=True) as owner:
            for remedy in remedies:
                owner.execute(remedy)
        wait_until_ready(url)
