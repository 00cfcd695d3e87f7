"""Follows the live release: a new model loads beside the old one, then both switch together."""

import asyncio
import logging
import math
import time
from dataclasses import dataclass, replace

import psycopg

from clip_assets.errors import ClipAssetsError, DatabaseError, ReleaseError
from clip_assets.postgres.address import checked
from clip_assets.postgres.connect import reader_dsn
from clip_assets.postgres.migrate import require_migrated
from clip_assets.search import search
from clip_assets.search.search import Release
from clip_assets.settings import Settings

from . import memory
from .background import daemon
from .backoff import Backoff
from .bulkhead import Bulkhead
from .database import Database
from .encoder import Lanes, QueryEncoder
from .errors import Unavailable
from .index_check import check_index
from .live import Live, Snapshot
from .loading import Load, encoder_of, load_model
from .postgres_restart import PostgresRestart
from .prewarm import Prewarm
from .reader import may_not_read
from .settings import ServingSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Loading:
    """One attempt to load a model: the model's identity, when it started, and its result."""

    key: str
    since: float
    outcome: "asyncio.Future[QueryEncoder]"


class Watcher:
    """Keeps `live` up to date: polls database, release and model about once a second."""

    def __init__(self, settings: ServingSettings, live: Live, load: Load = load_model) -> None:
        self._settings = settings
        self._live = live
        self._load = load
        self._lanes = Lanes(
            Bulkhead(
                "encoder",
                settings.encoder_threads,
                math.ceil(settings.encoder_waiting / settings.encoder_batch),
                settings.encoder_nice,
            ),
            # The same name in logs and messages, because to a client both are the encoder.
            Bulkhead(
                "encoder", settings.upload_threads, settings.upload_waiting, settings.encoder_nice
            ),
            settings.encoder_batch,
        )
        self._loading: _Loading | None = None
        self._loaded_for: str | None = None  # the key of the identity of the release served
        self._postgres_restart = PostgresRestart()
        self._backoff = Backoff()
        self._prewarm = Prewarm(settings.deadline_seconds)
        self._told: str | None = None
        self._following = settings.collection

    async def run(self) -> None:
        """Poll forever; an exception must not end the loop."""
        while True:
            try:
                await self._look()
            except Exception:
                logger.exception("polling the release failed; trying again")
            await asyncio.sleep(self._settings.refresh_seconds)

    def close(self) -> None:
        self._prewarm.forget()
        self._lanes.close()
        memory.unfreeze()
        if self._live.connected:
            self._live.connected.close()

    async def _look(self) -> None:
        if self._live.connected is None:
            await self._connect()
        if self._live.connected is not None:
            release = await self._released(self._live.connected)
            if release is not None:
                await check_index(self._live, self._live.connected, self._next(release))
                self._follow(release)
                self._prewarm.begin(self._live.connected, release)

    async def _connect(self) -> None:
        if not self._backoff.over:
            return
        self._backoff.begin()
        try:
            dsn = await daemon("postgres", self._dsn)
        except ClipAssetsError as error:
            self._report_database(str(error))
            return
        self._live.connected = Database(dsn, self._settings)

    def _dsn(self) -> str:
        if self._settings.dsn:
            return checked(self._settings.dsn.get_secret_value(), "CLIP_ASSETS_SERVING_DSN")
        return reader_dsn(Settings())

    async def _released(self, database: Database) -> Release | None:
        """The live release; or None, with the reason recorded in `live`."""
        try:
            releases = await database.probe(lambda conn: _live(conn, self._settings.collection))
            release = self._followed(releases)
        except ReleaseError as error:
            self._seen()
            self._live.release_problem = str(error)
            self._live.snapshot = self._live.index_problem = self._live.degraded = None
            self._live.others = {}
            return None
        except (psycopg.OperationalError, Unavailable) as error:
            ended = self._postgres_restart.poll()
            problem = ended or database.fault or "the database does not answer"
            self._report_database(problem, error)
            return None
        except DatabaseError as error:
            self._report_database(str(error))
            return None
        except psycopg.Error as error:
            self._report_database("the release cannot be looked up; see the log", error)
            return None
        self._seen()
        self._note_others(release, releases)
        return release

    def _followed(self, releases: list[Release]) -> Release:
        """The release of the served collection. If none is named, this is the collection released
        first, and it stays: publishing another collection must not change the answers."""
        self._following = self._following or (releases[0].collection if releases else None)
        for release in releases:
            if release.collection == self._following:
                return release
        raise search.nothing_released(self._following)

    def _note_others(self, followed: Release, releases: list[Release]) -> None:
        others = {release.collection: release for release in releases if release is not followed}
        if new := ", ".join(sorted(others.keys() - self._live.others)):
            logger.info(
                "requests without a collection search %s; also released: %s",
                followed.collection,
                new,
            )
        self._live.others = others

    def _report_database(self, problem: str, error: Exception | None = None) -> None:
        """Record the problem, and log it with its cause if it is new."""
        self._prewarm.forget()
        if problem != self._told:
            logger.warning("database: %s", f"{problem} ({error})" if error else problem)
        self._live.database_problem = self._told = problem

    def _next(self, release: Release) -> Release:
        """The release that answers after this poll: the old one while another model is loaded."""
        served = self._live.snapshot
        switching = served and self._loaded_for != release.identity.key
        return served.release if served and switching else release

    def _seen(self) -> None:
        self._told = None
        self._live.database_seen = time.monotonic()

    def _follow(self, release: Release) -> None:
        current = self._live.snapshot
        if current and self._loaded_for == release.identity.key:
            if current.release != release:
                self._live.snapshot = replace(current, release=release)
        elif encoder := self._loaded(release):
            self._live.snapshot, self._loaded_for = Snapshot(release, encoder), release.identity.key
            memory.freeze(again=current is not None)
            if current:
                daemon("give-back", memory.trim)
            self._live.model_problem = None
            logger.info("answering from release %s, %s", release.id, release.identity.short)
            if not self._live.snapshot.same_images:
                logger.warning(
                    "release %s was made with other image preprocessing than this service's: it "
                    "answers texts, and refuses uploads",
                    release.id,
                )

    def _loaded(self, release: Release) -> QueryEncoder | None:
        """The encoder of the release's model if it is loaded; otherwise starts loading it."""
        loading = self._loading
        if loading is None or loading.key != release.identity.key:
            self._start_loading(release)
            return None
        if not loading.outcome.done():
            return None
        error = loading.outcome.exception()
        if error is None:
            self._loading = None
            return loading.outcome.result()
        self._report(error)
        if time.monotonic() - loading.since > self._settings.load_retry_seconds:
            self._start_loading(release)
        return None

    def _start_loading(self, release: Release) -> None:
        self._live.model_problem = f"the model {release.identity.short} is being loaded"
        outcome = daemon(
            "load-model", lambda: encoder_of(release, self._load, self._settings, self._lanes)
        )
        self._loading = _Loading(release.identity.key, time.monotonic(), outcome)

    def _report(self, error: BaseException) -> None:
        if isinstance(error, ClipAssetsError):
            problem = str(error)
        else:
            problem = "the model could not be loaded; see the log"
        if problem != self._live.model_problem:
            logger.error("model: %s", problem, exc_info=error)
        self._live.model_problem = problem


def _live(connection: psycopg.Connection, collection: str | None) -> list[Release]:
    """The live releases. Raises DatabaseError if the schema was migrated past this program since it
    connected, or if the user may no longer read it."""
    try:
        with connection.transaction():
            return search.all_live(connection, collection)
    except psycopg.errors.InsufficientPrivilege as error:
        raise may_not_read(connection) from error
    except psycopg.ProgrammingError:
        require_migrated(connection)
        raise
