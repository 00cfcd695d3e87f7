"""Where a page of hits ended, as text that a client sends back to get the next page."""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass

from pydantic import BaseModel

from .errors import Unanswerable

INVALID = "cursor: not a cursor of this service."

_NOT_THE_QUERY = {"k", "cursor", "include", "release", "collection"}


@dataclass(frozen=True)
class Cursor:
    """The last hit returned. `ties` hits had exactly its score; `given` were returned in all.

    A position by score stays valid if the next search looks deeper into the graph and finds more
    images before it: no hit is returned twice. `vector` is the vector that was searched for, as the
    index stores vectors: encoding a text again, in another batch or on another machine, would
    change its vector by rounding, and so the scores.
    """

    release_id: int
    query: str
    score: float
    ties: int
    given: int
    vector: bytes

    def __str__(self) -> str:
        fields = [self.release_id, self.query, self.score, self.ties, self.given]
        return f"{_in_ascii(json.dumps(fields).encode())}.{_in_ascii(self.vector)}"

    @classmethod
    def parse(cls, text: str, query: str) -> "Cursor":
        """The query's cursor. Raises Unanswerable if it belongs to another query or is invalid."""
        try:
            head, _, vector = text.partition(".")
            release_id, of, score, ties, given = json.loads(_from_ascii(head))
            cursor = cls(
                int(release_id), str(of), float(score), int(ties), int(given), _from_ascii(vector)
            )
        except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Unanswerable(INVALID) from error
        if cursor.query != query:
            raise Unanswerable("cursor: it belongs to another query; only `k` may change.")
        if not (0 < cursor.release_id < 2**63 and 0 <= cursor.ties <= cursor.given):
            raise Unanswerable(INVALID)
        return cursor


def digest(query: BaseModel, upload: bytes = b"") -> str:
    """Equal for queries with the same hits, in every process of the service."""
    asked = query.model_dump_json(exclude=_NOT_THE_QUERY, exclude_defaults=True)
    return hashlib.sha256(asked.encode() + b"\0" + upload).hexdigest()[:16]


def _in_ascii(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _from_ascii(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
