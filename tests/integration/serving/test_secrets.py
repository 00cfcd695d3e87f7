"""Nothing that a service prints holds a part of its database's password."""

import logging
import os
import subprocess
from pathlib import Path

import pytest

from tests import web
from tests.integration.serving.support import (
    IMPATIENT,
    readiness,
    running,
    settings,
    wait_until,
    wait_until_unready,
)

CANARY = "canary"
MALFORMED = {
    "an unescaped @": f"postgresql://u:{CANARY}1@{CANARY}2@127.0.0.1:1/db",
    "an unescaped /": f"postgresql://u:{CANARY}1/{CANARY}2@127.0.0.1:1/db",
    "an unescaped ?": f"postgresql://u:{CANARY}1?{CANARY}2@127.0.0.1:1/db",
    "an unescaped #": f"postgresql://u:{CANARY}1#{CANARY}2@127.0.0.1:1/db",
    "an unescaped :": f"postgresql://u:{CANARY}1:{CANARY}2@127.0.0.1:1/db",
    "an unescaped %": f"postgresql://u:{CANARY}1%zz{CANARY}2@127.0.0.1:1/db",
    "an unescaped [": f"postgresql://u:{CANARY}1@[{CANARY}2@127.0.0.1:1/db",
    "a space": f"postgresql://u:{CANARY}1 {CANARY}2@127.0.0.1:1/db",
    "another scheme": f"mysql://u:{CANARY}1@127.0.0.1:1/db",
    "a capital": f"PostgreSQL://u:{CANARY}1@127.0.0.1:1/db",
    "one slash": f"postgresql:/u:{CANARY}1@127.0.0.1:1/db",
    "no scheme": f"u:{CANARY}1@127.0.0.1:1/db",
    "the password alone": f"{CANARY}1",
    "of SQLAlchemy": f"postgresql+psycopg2://u:{CANARY}1@127.0.0.1:1/db",
    "of JDBC": f"jdbc:postgresql://127.0.0.1:1/db?user=u&password={CANARY}1",
    "no host": f"postgresql://u:{CANARY}1",
    "a port with letters": f"postgresql://u:{CANARY}1@127.0.0.1:{CANARY}2/db",
    "in quotes": f"'postgresql://u:{CANARY}1@127.0.0.1:1/db'",
    "keywords, unquoted": f"host=127.0.0.1 port=1 user=u password={CANARY}1 {CANARY}2",
    "keywords, a quote": f"host=127.0.0.1 port=1 user=u password={CANARY}1'{CANARY}2",
    "keywords, open": f"host=127.0.0.1 port=1 user=u password='{CANARY}1 {CANARY}2",
    "keywords, commas": f"host=127.0.0.1,port=1,user=u,password={CANARY}1",
    "as a parameter": f"postgresql://127.0.0.1:1/db?user=u&password={CANARY}1&{CANARY}2",
    "unreachable": f"postgresql://u:{CANARY}1@127.0.0.1:1/db",
}


REAL = ("an unescaped @", "an unescaped /", "of SQLAlchemy", "unreachable")


def _said(url: str) -> str:
    """What the service tells anybody who asks, once it knows that it has no database."""
    wait_until_unready(url, "database")
    asked = web.post(f"{url}/v1/search", json={"text": "x"})
    return f"{readiness(url)} {asked.text}"


@pytest.mark.promise("No secret is shown")
@pytest.mark.parametrize("address", MALFORMED.values(), ids=MALFORMED)
def test_no_part_of_a_password_is_logged(address: str, caplog: pytest.LogCaptureFixture) -> None:
    """However its address is mistyped, the service says what is wrong without the password, in
    its answers and in every record of every library."""
    with caplog.at_level(logging.DEBUG), running(settings(address, **IMPATIENT)) as url:
        wait_until(lambda: "database: " in caplog.text, url)
        assert CANARY not in _said(url)
    assert CANARY not in caplog.text


@pytest.mark.parametrize("address", [MALFORMED[name] for name in REAL], ids=REAL)
def test_no_part_of_a_password_is_printed(python: str, tmp_path: Path, address: str) -> None:
    """The whole output of a service that reads the address from DATABASE_URL has none of it."""
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [python, "-m", "serving", "--port", "0"],
            env=os.environ | {"DATABASE_URL": address, "CLIP_ASSETS_SERVING_DRAIN_SECONDS": "0"},
            stdout=subprocess.PIPE, stderr=file, text=True,
        )  # fmt: skip
    try:
        assert process.stdout
        url = process.stdout.readline().split()[-1]
        wait_until(lambda: "database: " in log.read_text(), url)
        assert CANARY not in _said(url)
    finally:
        process.terminate()
        process.wait(120)
    assert CANARY not in log.read_text()
