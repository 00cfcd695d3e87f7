"""API keys: 32 random bytes each, of which only the hash is stored, in a file beside the data.

A file needs no database, which replicas of a snapshot do not share, and a secret store can mount
it. Two keys with one name can be live at once, so that a new one can be handed out before the old
one is revoked.
"""

import hashlib
import hmac
import json
import os
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from clip_assets.errors import SettingsError

Role = Literal["search", "judge", "admin"]
RANK: dict[Role, int] = {"search": 0, "judge": 1, "admin": 2}
"""Each role includes the rights of the roles before it."""

LIVE_AT_ONCE = 2
_PREFIX = "clip"


class Key(BaseModel):
    """What is stored of a key. `id` is the part that may be shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    role: Role
    sha256: str
    added_at: datetime

    def may(self, role: Role) -> bool:
        return RANK[self.role] >= RANK[role]


_Keys = TypeAdapter(list[Key])


class KeyFile:
    """The keys in a file, read again whenever it changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_at: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}

    def keys(self) -> list[Key]:
        """All live keys, in the order in which they were added; none if there is no file.

        Raises SettingsError if the file cannot be read.
        """
        self._refresh()
        return list(self._keys.values())

    def find(self, text: str) -> Key | None:
        """The live key with this text, or None. Takes the same time for a wrong secret."""
        self._refresh()
        _, _, rest = text.partition("_")
        key_id, _, _ = rest.partition("_")
        key = self._keys.get(key_id)
        expected = key.sha256 if key else "0" * 64
        equal = hmac.compare_digest(_hash(text), expected)
        return key if equal else None

    def add(self, name: str, role: Role) -> str:
        """Add a key and return its text, which is not stored. Raises SettingsError if two keys with
        that name are already live."""
        kept = self.keys()
        if sum(key.name == name for key in kept) >= LIVE_AT_ONCE:
            raise SettingsError(
                f"{name} has {LIVE_AT_ONCE} live keys. Revoke one first: `clip-assets keys list`."
            )
        key_id = secrets.token_hex(4)
        text = f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
        now = datetime.now(UTC).replace(microsecond=0)
        key = Key(id=key_id, name=name, role=role, sha256=_hash(text), added_at=now)
        self._write([*kept, key])
        return text

    def revoke(self, key_id: str) -> Key:
        """Remove a key; services stop accepting it at their next request."""
        kept = self.keys()
        for key in kept:
            if key.id == key_id:
                self._write([other for other in kept if other is not key])
                return key
        raise SettingsError(f"There is no key {key_id}. `clip-assets keys list` shows the ids.")

    def _refresh(self) -> None:
        try:
            status = self.path.stat()
            changed = (status.st_mtime_ns, status.st_ino)
            if changed != self._read_at:
                keys = _Keys.validate_json(self.path.read_bytes())
                self._keys = {key.id: key for key in keys}
                self._read_at = changed
        except FileNotFoundError:
            self._keys, self._read_at = {}, None
        except (OSError, ValidationError) as error:
            raise SettingsError(f"{self.path} is not a valid file of API keys.") from error

    def _write(self, keys: list[Key]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".keys-")
        with os.fdopen(handle, "w") as file:  # mkstemp lets nobody else read it
            json.dump([key.model_dump(mode="json") for key in keys], file, indent=1)
            file.flush()
            os.fsync(handle)
        Path(temporary).replace(self.path)
        self._read_at = None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
