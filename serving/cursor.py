"""Where a page of hits ended, as text that a client hands back to get the next one."""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass

from pydantic import BaseModel

from .errors import Unanswerable

_NOT_THE_QUERY = {"k", "cursor", "include", "release", "collection"}


@dataclass(frozen=True)
class Cursor:
    """The last hit that was given: `ties` hits of exactly its score were, and `given` in all.

    A position by score stays right when the next search looks deeper into the graph and finds more
    images before it: no hit is given twice.
    """

    release_id: int
    query: str
    score: float
    ties: int
    given: int

    def __str__(self) -> str:
        fields = [self.release_id, self.query, self.score, self.ties, self.given]
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str, query: str) -> "Cursor":
        """The cursor of that query. Raises Unanswerable if it is another query's, or none."""
        try:
            padded = text + "=" * (-len(text) % 4)
            fields = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            release_id, of, score, ties, given = fields
            cursor = cls(int(release_id), str(of), float(score), int(ties), int(given))
        except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Unanswerable("cursor: not one that this service gave.") from error
        if cursor.query != query:
            raise Unanswerable("cursor: it belongs to another query; only `k` may change.")
        if not (0 < cursor.release_id < 2**63 and 0 <= cursor.ties <= cursor.given):
            raise Unanswerable("cursor: not one that this service gave.")
        return cursor


def digest(query: BaseModel, upload: bytes = b"") -> str:
    """The same for queries whose hits are the same, in every process of the service."""
    asked = query.model_dump_json(exclude=_NOT_THE_QUERY, exclude_defaults=True)
    return hashlib.sha256(asked.encode() + b"\0" + upload).hexdigest()[:16]
