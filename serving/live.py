"""What the service currently answers from, or why it cannot answer."""

import time
from dataclasses import dataclass, field

from clip_assets.search.search import Release

from .canary import Canary
from .database import Database
from .encoder import QueryEncoder
from .errors import NotFound, NotReady, Unanswerable


@dataclass(frozen=True)
class Snapshot:
    """A release and the encoder of its model; each request takes both together."""

    release: Release
    encoder: QueryEncoder

    @property
    def same_texts(self) -> bool:
        """False for an earlier release of another model: no text can be encoded for it."""
        return self.release.identity.text_key == self.encoder.identity.text_key

    @property
    def same_images(self) -> bool:
        """Also false if a version of clip_assets with another image decoder made the release."""
        return self.release.identity.key == self.encoder.identity.key

    def require_images(self) -> None:
        """Raise Unanswerable if no uploaded image can be encoded for the release."""
        if not self.same_images:
            raise Unanswerable(
                f"Release {self.release.id} was made by {self.release.identity.short} with other "
                "image preprocessing than this service's: search it by text, `image_id` or "
                f"`vector` until `clip-assets backfill {self.release.collection} --shards all "
                "--again` has embedded its images with this version."
            )


@dataclass
class Live:
    """The service's shared state. Only the watcher changes it, each field in one assignment.

    `snapshot` is of the collection that the service follows; `others` are the live releases of
    other collections, by name. Those of the same model can be searched with the loaded encoder.
    """

    silence_seconds: float
    snapshot: Snapshot | None = None
    others: dict[str, Release] = field(default_factory=dict)
    connected: Database | None = None
    database_seen: float = field(default=float("-inf"))
    database_problem: str = "the database has not been reached yet"
    release_problem: str = "no release has been looked up yet"
    model_problem: str | None = None
    index_problem: str | None = None
    degraded: str | None = None
    canary: Canary = field(default_factory=Canary)
    draining: bool = False

    def require(self, collection: str | None = None) -> Snapshot:
        """The current snapshot of this collection, or of the followed one if None.

        Raises NotReady while it cannot be searched, and NotFound if the service does not serve the
        collection.
        """
        if self.snapshot and collection not in (None, self.snapshot.release.collection):
            return self._other(self.snapshot, str(collection))
        if self.index_problem:
            raise NotReady(self.index_problem)
        if self.snapshot is None:
            raise NotReady(f"Not ready: {'; '.join(self.problems().values()).rstrip('.')}.")
        return self.snapshot

    def _other(self, snapshot: Snapshot, collection: str) -> Snapshot:
        release = self.others.get(collection)
        if release is None:
            served = ", ".join(sorted([snapshot.release.collection, *self.others]))
            raise NotFound(f"No such collection. This service serves {served}.")
        other = Snapshot(release, snapshot.encoder)
        if not other.same_texts:
            raise NotFound(
                "This collection was made by another model than the one that this service loaded. "
                f"Start a service for it with `--collection {collection}`."
            )
        return other

    @property
    def database(self) -> Database:
        if self.connected is None:
            raise NotReady(f"Not ready: {self.database_problem}.")
        return self.connected

    @property
    def pending(self) -> str | None:
        """Why the newest release is not served yet while an older one is."""
        return self.model_problem if self.snapshot else None

    def problems(self) -> dict[str, str]:
        """What is wrong, by part; empty means ready."""
        found = {}
        if time.monotonic() - self.database_seen > self.silence_seconds:
            found["database"] = self.database_problem
        if self.snapshot is None:
            if self.model_problem:
                found["model"] = self.model_problem
            else:
                found["release"] = self.release_problem
        if self.index_problem:
            found["index"] = self.index_problem
        if self.draining:
            found["service"] = "the service is shutting down"
        return found
