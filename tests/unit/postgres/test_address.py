"""Addresses are checked without quoting any part of a password."""

import traceback

import pytest

from clip_assets.errors import DatabaseError
from clip_assets.postgres.address import checked

CANARY = "c4n4ry"

REFUSED = [
    "postgres//me:{}@host/db",
    "postgresql://me:{}@host:x/db",
    "mysql://me:{}@host/db",
    "postgresql://me:{}@more@host/db",
    "postgresql://me:a@{}@host/db",
    "postgresql://me:{}/more@host/db",
    "postgresql://me:12/{}@host/db",
    "postgresql://me:{}?more@host/db",
    "postgresql://me:a?{}=b@host/db",
    "postgresql://me:{}%zz@host/db",
    "postgresql+psycopg2://me:{}@more@host/db",
    "postgresql://me:{} more@host/db?connect_timeout",
    "host=localhost password=a {} more",
    "host=localhost password='{}",
    "{}",
]
ACCEPTED = [
    ("postgresql://me:{}@host:5432/db", None),
    ("postgres://me:{}@host/db?sslmode=require&options=-c%20a%3Db", None),
    ("postgresql://me:{}%40more@one:1,two:2/db", None),
    ("postgresql:///db?host=/run/postgresql&password={}", None),
    ("postgresql://me:{}@[::1]:5432/db", None),
    ("host=localhost password='{} more' dbname=db", None),
    ("postgresql+psycopg2://me:{}@host/db", "postgresql://me:{}@host/db"),
    (" postgresql://me:{}@host/db\n", "postgresql://me:{}@host/db"),
]


@pytest.mark.parametrize("address", REFUSED)
def test_a_malformed_address_is_never_quoted(address: str) -> None:
    """Neither the message nor the whole traceback has any part of the password."""
    with pytest.raises(DatabaseError) as caught:
        checked(address.format(CANARY), "THE_SETTING")
    shown = "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    assert "THE_SETTING" in shown
    assert CANARY not in shown


@pytest.mark.parametrize("address", ["postgresql://me:a@more@host/db", "postgresql://me:a/b@h/db"])
def test_an_unescaped_password_is_told_apart(address: str) -> None:
    """The remedy is to percent-encode it."""
    with pytest.raises(DatabaseError, match="percent-encoded"):
        checked(address)


@pytest.mark.parametrize("parameter", ["schema", "pgbouncer", "connection_limit"])
def test_a_parameter_of_another_client_is_named(parameter: str) -> None:
    """As Prisma, SQLAlchemy or JDBC write them."""
    with pytest.raises(DatabaseError, match=f"parameter `{parameter}`, which belongs to another"):
        checked(f"postgresql://me:{CANARY}@host/db?sslmode=require&{parameter}=1")


@pytest.mark.parametrize(("address", "read"), ACCEPTED)
def test_what_libpq_reads_is_left_alone(address: str, read: str | None) -> None:
    """Sockets, several hosts, options and encoded characters; SQLAlchemy's driver is left out."""
    assert checked(address.format(CANARY)) == (read or address).format(CANARY)
