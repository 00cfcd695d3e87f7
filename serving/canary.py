"""A search with a known answer, which shows whether the live index still answers."""

import psycopg

from clip_assets.search import search
from clip_assets.search.search import Release

from .encoder import Vector
from .errors import IndexDamaged

_EQUAL = 0.999  # cosine similarity of a stored vector to itself, rounded
_TRIED = 8  # an HNSW search may miss one image, but not this many


class Canary:
    """Searches for a stored vector, which must find its own image or one with an equal vector.

    If it does not, other images are tried, because that one may have been erased.
    """

    def __init__(self) -> None:
        self._known: tuple[int, Vector] | None = None

    def check(self, connection: psycopg.Connection, release: Release) -> None:
        """Raises IndexDamaged if searches of the release fail or do not find the known image."""
        try:
            whole = self._answers(connection, release)
        except psycopg.errors.InsufficientPrivilege:
            raise
        except (psycopg.ProgrammingError, psycopg.DataError) as error:
            raise IndexDamaged(release) from error
        if not whole:
            raise IndexDamaged(release)

    def _answers(self, connection: psycopg.Connection, release: Release) -> bool:
        known = self._known
        if known and known[0] == release.index_id and _found(connection, release, known[1]):
            return True
        stored = search.some_vectors(connection, release, _TRIED)
        for vector in stored:
            if _found(connection, release, vector):
                self._known = (release.index_id, vector)
                return True
        return not stored and not search.any_loaded(connection, release)


def _found(connection: psycopg.Connection, release: Release, vector: Vector) -> bool:
    hits = search.search(connection, release, vector, 1).hits
    return any(hit.score > _EQUAL for hit in hits)
