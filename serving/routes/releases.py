"""The live release, earlier ones, and the declared columns."""

from typing import Annotated

from fastapi import APIRouter, Query

from clip_assets.search import search as index
from clip_assets.search.columns import declared_columns

from ..query import InCollection, ReleaseId
from ..routes.refusals import REFUSALS
from ..schema import ColumnOut, PublishedOut, ReleaseOut
from ..service import ContextDep

router = APIRouter(prefix="/v1", tags=["releases"], responses=REFUSALS)


@router.get("/release")
async def release(
    context: ContextDep, collection: Annotated[InCollection, Query()] = None
) -> ReleaseOut:
    """The live release: its model, size and time of publication."""
    return ReleaseOut.of(context.live.require(collection).release)


@router.get("/releases")
async def releases(
    context: ContextDep, collection: Annotated[InCollection, Query()] = None
) -> list[PublishedOut]:
    """All releases of the collection, newest first."""
    live = context.live.require(collection).release
    found = await context.live.database.run(
        lambda connection: index.published(connection, live.collection), context.deadline
    )
    return [PublishedOut.of(one, live, context.settings) for one in found]


@router.get("/columns")
async def columns(
    context: ContextDep,
    collection: Annotated[InCollection, Query()] = None,
    release: Annotated[ReleaseId, Query()] = None,
) -> list[ColumnOut]:
    """The declared columns of the collection with their values or bounds, for filters."""
    searched = (await context.snapshot(collection, release)).release
    found = await context.ask(searched, lambda connection: declared_columns(connection, searched))
    return [ColumnOut.of(column) for column in found]
