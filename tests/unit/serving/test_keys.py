"""API keys: made once, kept as hashes, two at a time for each name."""

import stat
from pathlib import Path

import pytest

from clip_assets.errors import SettingsError
from clip_assets.keys import KeyFile
from serving.server import asks_for_keys


def test_a_key_is_found_until_it_is_revoked(tmp_path: Path) -> None:
    """Also by a service that read the file before; only hashes are in the file, and only its owner
    may read it."""
    service, admin = KeyFile(tmp_path / "keys.json"), KeyFile(tmp_path / "keys.json")
    assert service.keys() == []
    key = admin.add("website", "judge")
    found = service.find(key)
    assert found
    assert (found.name, found.may("search"), found.may("admin")) == ("website", True, False)
    secret = key.split("_", 2)[2]
    assert len(secret) >= 43  # 32 bytes in base64
    assert secret not in service.path.read_text()
    assert stat.S_IMODE(service.path.stat().st_mode) == 0o600
    admin.revoke(found.id)
    assert service.find(key) is None


def test_what_is_no_key_is_not_found(tmp_path: Path) -> None:
    """The id alone, another secret, a changed prefix, and nothing at all."""
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("a", "search")
    prefix, key_id, secret = key.split("_", 2)
    wrong = ["", "_", key_id, f"{prefix}_{key_id}_", key[:-1], f"x_{key_id}_{secret}", key + "é"]
    assert [text for text in wrong if keys.find(text)] == []


def test_two_keys_of_a_name_live_at_once(tmp_path: Path) -> None:
    """So one can be replaced without an outage; a third has to wait."""
    keys = KeyFile(tmp_path / "keys.json")
    first, second = keys.add("a", "search"), keys.add("a", "search")
    assert keys.find(first) and keys.find(second)
    with pytest.raises(SettingsError, match="Revoke one first"):
        keys.add("a", "search")
    keys.add("b", "search")
    with pytest.raises(SettingsError, match="no key"):
        keys.revoke("00000000")


def test_a_damaged_file_lets_nobody_in(tmp_path: Path) -> None:
    """It is an error, not a file without keys."""
    (tmp_path / "keys.json").write_text("[{")
    with pytest.raises(SettingsError, match="not a valid file of API keys"):
        KeyFile(tmp_path / "keys.json").find("clip_a_b")


def test_other_machines_need_a_key(tmp_path: Path) -> None:
    """On loopback none is asked for; elsewhere the service does not start without keys unless it
    is told so."""
    keys = KeyFile(tmp_path / "keys.json")
    for host in ("127.0.0.1", "localhost", "::1"):
        assert asks_for_keys(host, None, keys) is False
    for host in ("0.0.0.0", "::", "10.1.2.3", "example.com"):
        with pytest.raises(SettingsError, match="clip-assets keys add NAME"):
            asks_for_keys(host, None, keys)
        assert asks_for_keys(host, False, keys) is False
    with pytest.raises(SettingsError):
        asks_for_keys("127.0.0.1", True, keys)
    keys.add("a", "search")
    assert asks_for_keys("0.0.0.0", None, keys) is True
