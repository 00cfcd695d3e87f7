"""Checks addresses of Postgres, without ever quoting one: they contain passwords.

libpq's own errors quote what it could not parse, which may be part of a password.
"""

import re
from typing import Any
from urllib.parse import parse_qsl

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo

from clip_assets.errors import DatabaseError

_URI = re.compile(r"^(postgres(?:ql)?)(\+\w+)?://")
_WRITE = "Write it as postgresql://user:password@host:5432/database"


def checked(address: str, name: str = "DATABASE_URL") -> str:
    """The address for libpq, without SQLAlchemy's driver (`postgresql+psycopg2`).

    Raises DatabaseError if libpq could not parse the address, or would take part of the password
    for something else. `name` is the setting that it comes from.
    """
    address = _URI.sub(r"\1://", address.strip())
    if _URI.match(address):
        _require_encoded(address, name)
        _require_known_parameters(address, name)
    found = _parsed(address)
    if found is None:
        raise DatabaseError(
            f"{name} is not a Postgres address. {_WRITE}, or unset it to use the embedded server."
        )
    if not re.fullmatch(r"[\d,]*", str(found.get("port", ""))):
        raise _not_encoded(name)
    return address


def without_password(address: str) -> str:
    """The address without its password, in libpq's keyword form, to show to people."""
    parts = conninfo_to_dict(address).items()
    return make_conninfo(**{key: str(value) for key, value in parts if "pass" not in key})


def _require_encoded(address: str, name: str) -> None:
    """Refuse an address in which an unescaped @, / or ? may have cut the password."""
    location, _, query = address.partition("://")[2].partition("?")
    authority, _, path = location.partition("/")
    if authority.count("@") > 1 or "@" in path or ("@" in query and "@" not in authority):
        raise _not_encoded(name)


def _require_known_parameters(address: str, name: str) -> None:
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    for key, _ in parse_qsl(address.partition("?")[2], keep_blank_values=True):
        if key not in known | {"ssl"} and re.fullmatch(r"[A-Za-z_]{1,40}", key):
            raise DatabaseError(
                f"{name} has the parameter `{key}`, which belongs to another client; libpq does "
                "not know it. Remove it from the address."
            )


def _not_encoded(name: str) -> DatabaseError:
    return DatabaseError(
        f"{name} cannot be read: its password seems to contain a character that must be "
        f"percent-encoded (@ as %40, / as %2F, : as %3A, ? as %3F, # as %23). {_WRITE}."
    )


def _parsed(address: str) -> dict[str, Any] | None:
    """None if libpq cannot parse it; the error is dropped, because its text may be a password."""
    try:
        return conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        return None
