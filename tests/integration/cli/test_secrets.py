"""No command prints any part of the database's password, whatever goes wrong."""

import logging
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from clip_assets.cli.app import app
from clip_assets.settings import Settings
from tests.integration.support import Made
from tests.ports import free_port
from tests.provider import PASSWORD, Provider

CANARIES = ("f1nch", "w3aver")
COMMANDS = [
    ["migrate"],
    ["status"],
    ["search", "a cloud"],
    ["sql", "SELECT 1", "--postgres"],
    ["index", "photos", "--model", "ViT-B-32", "--pretrained", "laion2b_s34b_b79k"],
    ["snapshot", "photos"],
    ["rollback", "photos"],
    ["erase", "photos", "a.jpg"],
]


def wrong_password(server: Provider) -> str:
    return f"postgresql://postgres:{CANARIES[0]}%40{CANARIES[1]}@127.0.0.1:{server.port}/postgres"


def nobody_listens(server: Provider) -> str:
    return f"postgresql://me:{CANARIES[0]}%40{CANARIES[1]}@127.0.0.1:{free_port()}/db"


def unescaped_at(server: Provider) -> str:
    return f"postgresql://me:{CANARIES[0]}@{CANARIES[1]}@127.0.0.1:{server.port}/db"


def unescaped_slash(server: Provider) -> str:
    return f"postgresql://me:{CANARIES[0]}/{CANARIES[1]}@127.0.0.1:{server.port}/db"


def of_sqlalchemy(server: Provider) -> str:
    return (
        f"postgresql+psycopg2://me:{CANARIES[0]}{CANARIES[1]}@127.0.0.1:{server.port}/db?schema=a"
    )


@pytest.fixture(
    params=[wrong_password, nobody_listens, unescaped_at, unescaped_slash, of_sqlalchemy]
)
def _unusable_address(
    request: pytest.FixtureRequest,
    postgres_of: Callable[[int], Provider],
    made: Made,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The settings of an installation that has files, but cannot reach its database."""
    monkeypatch.setenv("DATABASE_URL", request.param(postgres_of(18)))
    monkeypatch.setenv("CLIP_ASSETS_DATA", made.objects.root.rpartition("/")[0])


@pytest.mark.promise("No secret is shown")
@pytest.mark.usefixtures("_unusable_address")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_failed_command_prints_no_secret(
    command: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """It ends with one sentence; neither that nor the log has a part of the password."""
    caplog.set_level(logging.DEBUG)
    result = CliRunner(mix_stderr=False).invoke(app, command)
    assert result.exit_code == 1, result.output
    shown = result.output + result.stderr + caplog.text + repr(result.exception)
    assert result.stderr.startswith("error: "), result.stderr
    assert not [canary for canary in CANARIES if canary in shown]


def test_settings_print_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are shown in tracebacks and in Dagster's own messages."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{PASSWORD}@host/db")
    monkeypatch.setenv("HF_TOKEN", PASSWORD)
    settings = Settings(_env_file=None)
    assert PASSWORD not in repr(settings) + str(settings) + settings.model_dump_json()
