"""Liveness, readiness, and the live release."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from ..query import InCollection
from ..routes.search import REFUSALS
from ..schema import ReleaseOut
from ..service import ContextDep

router = APIRouter(tags=["service"], responses={s: REFUSALS[s] for s in (400, 405, 408, 431)})


class Alive(BaseModel):
    """The process responds; nothing else was checked."""

    alive: bool = True


class Ready(BaseModel):
    """Whether searches are answered; if not, why, by component."""

    ready: bool
    problems: dict[str, str] = Field(examples=[{"database": "the database does not answer"}])
    pending: str | None = Field(None, description="why a newer release is not served yet")
    degraded: str | None = Field(None, description="why searches are slower than they should be")


class CollectionOut(BaseModel):
    """A collection with a live release."""

    collection: str
    release: int
    model: str
    searchable: bool = Field(description="false if another model than the loaded one made it")


@router.get("/livez")
async def livez() -> Alive:
    """200 while the process is running. Uses neither the database nor the model."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Ready}})
async def readyz(context: ContextDep, response: Response) -> Ready:
    """200 if the model is warm, the database answers within 200 ms, a release of that model is live
    and a search of it whose answer is known finds that. Reports what the watcher last saw, so it is
    cheap and never waits."""
    problems = context.live.problems()
    response.status_code = 503 if problems else 200
    live = context.live
    return Ready(
        ready=not problems, problems=problems, pending=live.pending, degraded=live.degraded
    )


@router.get("/v1/release", responses={status: REFUSALS[status] for status in (404, 413, 422, 503)})
async def release(
    context: ContextDep, collection: Annotated[InCollection, Query()] = None
) -> ReleaseOut:
    """The live release: its model, its size and when it was published."""
    return ReleaseOut.of(context.live.require(collection).release)


@router.get("/v1/collections", responses={503: REFUSALS[503]})
async def collections(context: ContextDep) -> list[CollectionOut]:
    """The collections that this service knows; the first answers requests that name none."""
    snapshot = context.live.require()
    key = snapshot.encoder.identity.key
    return [
        CollectionOut(
            collection=release.collection,
            release=release.id,
            model=release.identity.short,
            searchable=release.identity.key == key,
        )
        for release in (snapshot.release, *context.live.others.values())
    ]
