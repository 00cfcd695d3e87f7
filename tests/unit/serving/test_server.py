"""The port, and the address that is printed."""

import socket

import pytest

from clip_assets.errors import SettingsError
from serving.server import address, listen


def test_a_busy_port_is_an_error_that_names_it() -> None:
    """Who asks for a port gets that one or a sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"{port}.*in use"):
            listen("127.0.0.1", port, step_over=False)


def test_a_busy_port_can_be_stepped_over() -> None:
    """With step_over the next free port is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with listen("127.0.0.1", port, step_over=True) as listening:
            assert port < listening.getsockname()[1] < port + 20


def test_an_address_of_another_machine_is_an_error() -> None:
    """An address that cannot be had is a sentence, not a traceback."""
    with pytest.raises(SettingsError, match="Cannot listen"):
        listen("192.0.2.1", 0, step_over=True)


def test_the_printed_address_can_be_typed() -> None:
    """It names the port that was really taken."""
    with listen("127.0.0.1", 0, step_over=False) as listening:
        assert address(listening) == f"http://127.0.0.1:{listening.getsockname()[1]}"
