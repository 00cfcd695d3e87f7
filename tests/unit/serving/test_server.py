"""Choosing the port, and printing the address."""

import socket

import pytest

from clip_assets.errors import SettingsError
from serving.server import address, listen


def test_a_busy_port_is_an_error_that_names_it() -> None:
    """A requested port is used, or the error says that it is in use."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"{port}.*in use"):
            listen("127.0.0.1", port, step_over=False)


def test_with_step_over_the_next_free_port_is_used() -> None:
    """A busy port is not an error then."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with listen("127.0.0.1", port, step_over=True) as listening:
            assert port < listening.getsockname()[1] < port + 20


def test_an_address_of_another_machine_is_an_error() -> None:
    """An address that is not available gives one sentence, not a traceback."""
    with pytest.raises(SettingsError, match="Cannot listen"):
        listen("192.0.2.1", 0, step_over=True)


def test_the_printed_address_has_the_actual_port() -> None:
    """With port 0 it names the port that was chosen."""
    with listen("127.0.0.1", 0, step_over=False) as listening:
        assert address(listening) == f"http://127.0.0.1:{listening.getsockname()[1]}"
