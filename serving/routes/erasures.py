"""Erases an image: from answers at once, then from every file."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from clip_assets.search import search as index
from clip_assets.store.erased import Receipt

from ..erasing import Erasing
from ..errors import Forbidden, NotFound
from ..image_path import IMAGE
from ..query import ImageId, InCollection
from ..routes.refusals import READ_ONLY, REFUSALS
from ..service import ContextDep

router = APIRouter(tags=["images"], responses={**REFUSALS, 409: READ_ONLY})


class Erasure(BaseModel):
    """The state of an erasure."""

    receipt: Receipt | None = Field(description="null until the erasure is complete; ask again")


@router.delete(IMAGE, responses={202: {"model": Erasure}})
async def erase(
    image_id: ImageId,
    context: ContextDep,
    request: Request,
    response: Response,
    collection: Annotated[InCollection, Query()] = None,
) -> Erasure:
    """Erase an image permanently: rows, files, older versions, snapshots and judgements. Needs an
    admin key. Send the same request again to wait for the erasure or to get its receipt."""
    if context.key is None:
        raise Forbidden("Only an admin key may erase. Start the service with --auth.")
    release = context.live.require(collection).release
    erasing: Erasing = request.app.state.erasing
    erasing.require(release.collection)
    known = await context.ask(release, lambda found: index.image(found, release, image_id))
    if known is None and not await erasing.begun(release.collection, image_id):
        raise NotFound(f"Release {release.id} has no image with this id.")
    receipt = await erasing.receipt(release.collection, image_id, context.key.name)
    response.status_code = 200 if receipt else 202
    return Erasure(receipt=receipt)
