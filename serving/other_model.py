"""The model of an earlier release beside that of the live one, for texts that are compared."""

import asyncio
import logging
import time
from dataclasses import dataclass

from clip_assets.errors import ClipAssetsError
from clip_assets.search.search import Release

from . import memory
from .background import daemon
from .bulkhead import Bulkhead, give_way
from .encoder import Lanes, QueryEncoder
from .errors import ModelLoading, NotReady, Unanswerable
from .loading import Load, encoder_of
from .settings import ServingSettings

logger = logging.getLogger(__name__)

_NICE = 10
"""Its threads give way to those of the live model, which have `encoder_nice`, by default 5."""


@dataclass(frozen=True)
class _Loading:
    """One attempt to load a model: the identity's key, when it began, and its result."""

    key: str
    since: float
    outcome: "asyncio.Future[QueryEncoder]"


class OtherModel:
    """At most one model, loaded when it is asked for and dropped when nobody asked for so long.

    It has threads of its own, so that searches of the live release never wait for it.
    """

    def __init__(self, settings: ServingSettings, load: Load) -> None:
        self._settings = settings
        self._load = load
        waiting = settings.upload_waiting
        self._lanes = Lanes(
            Bulkhead("encoder", 1, waiting, _NICE),
            Bulkhead("encoder", 1, waiting, _NICE),
            settings.encoder_batch,
        )
        self._loading: _Loading | None = None
        self._idle: asyncio.TimerHandle | None = None

    def encoder(self, release: Release) -> QueryEncoder:
        """The encoder of the release's model. It is not waited for: the first call starts loading.

        Raises ModelLoading until it is loaded, NotReady if it cannot be, and Unanswerable if this
        service loads no other model.
        """
        if not self._settings.other_model_minutes or self._settings.workers > 1:
            raise Unanswerable(
                f"Release {release.id} was made by {release.identity.short}, which is not loaded: "
                "search it by `image_id` or `vector`. A service of one worker loads it for texts "
                "and uploads unless CLIP_ASSETS_SERVING_OTHER_MODEL_MINUTES is 0."
            )
        loading = self._loading
        if loading is None or (loading.key != release.identity.key and loading.outcome.done()):
            loading = self._start(release)
        if not loading.outcome.done():
            of = f"release {release.id}"
            which = of if loading.key == release.identity.key else f"another release than {of}"
            raise ModelLoading(f"The model of {which} is being loaded.")
        if error := loading.outcome.exception():
            raise NotReady(self._told(loading, error, release))
        self._drop_later()
        return loading.outcome.result()

    def close(self) -> None:
        if self._idle:
            self._idle.cancel()
        self._lanes.close()

    def _start(self, release: Release) -> _Loading:
        logger.info("loading %s beside the live model", release.identity.short)

        def load() -> QueryEncoder:
            give_way(_NICE)
            return encoder_of(release, self._load, self._settings, self._lanes)

        outcome = daemon("load-other-model", load)
        outcome.add_done_callback(lambda _: self._drop_later())
        self._loading = _Loading(release.identity.key, time.monotonic(), outcome)
        return self._loading

    def _told(self, loading: _Loading, error: BaseException, release: Release) -> str:
        """Why it could not be loaded. After `load_retry_seconds` the next call tries again."""
        if time.monotonic() - loading.since > self._settings.load_retry_seconds:
            self._drop()
        if isinstance(error, ClipAssetsError):
            return str(error)
        logger.error("model of release %s", release.id, exc_info=error)
        return f"The model of release {release.id} could not be loaded; see the service's log."

    def _drop_later(self) -> None:
        if self._idle:
            self._idle.cancel()
        seconds = self._settings.other_model_minutes * 60
        self._idle = asyncio.get_running_loop().call_later(seconds, self._drop)

    def _drop(self) -> None:
        if self._idle:
            self._idle.cancel()
        self._idle = None
        if self._loading:
            self._loading = None
            daemon("give-back", memory.trim)
            logger.info("dropped the model beside the live one")
