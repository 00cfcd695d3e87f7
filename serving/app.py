"""The application: routes, error handlers and middleware."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from limits.storage import MemoryStorage
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

from clip_assets.keys import KeyFile

from . import errors, tracing
from .erasing import Erasing
from .live import Live
from .loading import Load, load_model
from .metrics import Metrics
from .middleware.access import Access
from .middleware.access_log import AccessLog
from .middleware.admission import Admission
from .middleware.body_timeout import BodyTimeout
from .middleware.head import Head
from .middleware.headers import SecurityHeaders
from .middleware.prefix import Prefix
from .middleware.too_large import TooLarge
from .originals import Originals
from .other_model import OtherModel
from .rates import SharedStorage
from .routes import embed, erasures, health, images, judgements, page, releases, search, session
from .schema import Problem
from .settings import ServingSettings
from .tracing import Traced
from .watcher import Watcher
from .writing import Writing

DESCRIPTION = """Search a collection of images by what they show.

Every answer names its release and model; every hit names the run, shard and model that made its
vector. Errors are problems as in RFC 9457, with a fixed `code` for programs.
"""
TAGS = [
    {"name": "search", "description": "Search by a text, a stored image or an uploaded image."},
    {
        "name": "images",
        "description": "Image records, lineage and files, and thumbnails by content hash.",
    },
    {"name": "releases", "description": "The live release and earlier ones."},
    {"name": "judgements", "description": "People's judgements of hits: right or wrong."},
    {"name": "service", "description": "Health, and the collections that are served."},
]


class Service(FastAPI):
    """FastAPI with our middleware outside of FastAPI's own.

    `add_middleware` would place ours inside the layers that answer 413 and 500, but headers and
    log lines must cover those answers too.
    """

    def openapi(self) -> dict[str, Any]:
        """The document, with the schema of problems: FastAPI adds only models of JSON responses."""
        document = super().openapi()
        document["components"]["schemas"].setdefault("Problem", Problem.model_json_schema())
        return document

    def build_middleware_stack(self) -> ASGIApp:
        settings: ServingSettings = self.state.settings
        inner: ASGIApp = BodyTimeout(super().build_middleware_stack(), settings.body_seconds)
        inner = Access(inner, settings, self.state.keys, self.state.rates)
        if settings.cors_origins:
            inner = CORSMiddleware(
                inner,
                settings.cors_origins,
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["Authorization", "Content-Type"],
                expose_headers=["Retry-After", "X-Request-ID"],
            )
        # Fastest level, because answers are repetitive and compressing blocks the event loop.
        smaller = GZipMiddleware(
            SecurityHeaders(TooLarge(inner), embeddable=bool(settings.cors_origins)),
            1000,
            compresslevel=1,
        )
        count = self.state.metrics.observe
        logged = AccessLog(Head(smaller), count)
        admitted: ASGIApp = Admission(logged, settings, count)
        if self.state.spans:
            admitted = Traced(admitted, self.state.spans)
        return Prefix(admitted, settings.path_prefix)


def create_app(
    settings: ServingSettings,
    load: Load = load_model,
    folder: Path | None = None,
    patience: float = 0.0,
) -> FastAPI:
    """The service. It answers `/` and `/livez` at once, and everything else once it is ready.

    With several workers, each keeps shared counts in `folder`. A worker completes its startup once
    it is ready, or after `patience` seconds, so that the others answer meanwhile.
    """
    app = Service(
        title="clip_assets search",
        version="1",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,  # the default pages load third-party scripts, which our CSP forbids
        redoc_url=None,
        redirect_slashes=False,
        max_body_size=2**16,
        lifespan=_watched,
    )
    app.state.settings = settings
    app.state.live = Live(settings.silence_seconds)
    app.state.metrics = Metrics(app.state.live, folder)
    app.state.rates = SharedStorage(folder / "rates") if folder else MemoryStorage()
    app.state.patience = patience
    app.state.spans = tracing.provider()
    app.state.load = load
    app.state.other = OtherModel(settings, load)
    app.state.keys = KeyFile(settings.keys) if settings.auth else None
    app.state.originals = Originals(settings)
    app.state.writing = Writing(settings)
    app.state.erasing = Erasing(settings)
    errors.install(app)
    for routes in (
        search.router(settings),  # first: the router tries them in this order
        page.router,
        embed.router(settings),
        images.router,
        erasures.router,
        releases.router,
        judgements.router,
        session.router,
        health.router,
    ):
        app.include_router(routes)
    app.mount("/static", StaticFiles(directory=page.FOLDER / "static"), name="static")
    return app


@asynccontextmanager
async def _watched(app: FastAPI) -> AsyncIterator[None]:
    watcher = Watcher(app.state.settings, app.state.live, app.state.load)
    watching = asyncio.create_task(watcher.run())
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(app.state.patience):
                while app.state.live.problems():
                    await asyncio.sleep(0.05)
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        watcher.close()
        app.state.other.close()
        app.state.originals.close()
        app.state.writing.close()
        if app.state.spans:
            app.state.spans.shutdown()
