"""Liveness, readiness, metrics, and the collections that are served."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from clip_assets.column import ColumnType

from ..metrics import CONTENT_TYPE, Metrics
from ..routes.refusals import REFUSALS
from ..service import ContextDep

router = APIRouter(tags=["service"], responses={s: REFUSALS[s] for s in (400, 405, 408, 431)})


class Alive(BaseModel):
    """The process responds; nothing else was checked."""

    alive: bool = True


class Ready(BaseModel):
    """Whether searches are answered and, if not, the reason for each component."""

    ready: bool
    problems: dict[str, str] = Field(examples=[{"database": "the database does not answer"}])
    pending: str | None = Field(None, description="why a newer release is not served yet")
    degraded: str | None = Field(None, description="why searches are slower than they should be")


class CollectionOut(BaseModel):
    """A collection with a live release."""

    collection: str
    release: int
    model: str
    searchable: bool = Field(description="false if the loaded model did not make it")
    columns: dict[str, ColumnType] = Field(description="the declared columns; see /v1/columns")


@router.get("/livez")
async def livez() -> Alive:
    """200 while the process is running. Uses neither the database nor the model."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Ready}})
async def readyz(context: ContextDep, response: Response) -> Ready:
    """200 if the model is warm, the database answers within 200 ms, a release of that model is
    live, and a search for a stored vector finds its image. Reports what the watcher last saw, so it
    is cheap and never waits."""
    problems = context.live.problems()
    response.status_code = 503 if problems else 200
    live = context.live
    return Ready(
        ready=not problems, problems=problems, pending=live.pending, degraded=live.degraded
    )


@router.get("/v1/collections", responses={503: REFUSALS[503]})
async def collections(context: ContextDep) -> list[CollectionOut]:
    """The collections that this service knows; requests that name none search the first."""
    snapshot = context.live.require()
    key = snapshot.encoder.identity.text_key
    return [
        CollectionOut(
            collection=release.collection,
            release=release.id,
            model=release.identity.short,
            searchable=release.identity.text_key == key,
            columns=dict(release.columns),
        )
        for release in (snapshot.release, *context.live.others.values())
    ]


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}}},
        **{status: REFUSALS[status] for status in (401, 403, 429, 503)},
    },
)
async def metrics(request: Request) -> Response:
    """Metrics of all workers of this service, in Prometheus' text format."""
    counted: Metrics = request.app.state.metrics
    return Response(counted.text(), headers={"Content-Type": CONTENT_TYPE})
