"""An image's record, its lineage, its file, and its thumbnail by content hash."""

import re
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response

from clip_assets.search import search as index
from clip_assets.search.search import Hit, Origin, Release

from ..errors import NotFound
from ..image_path import IMAGE
from ..query import ImageId, InCollection, ReleaseId
from ..routes.refusals import REFUSALS
from ..schema import ImageOut, OriginOut
from ..service import Context, ContextDep
from ..settings import ServingSettings

router = APIRouter(tags=["images"], responses=REFUSALS)


_ENCODED_SLASH = re.compile(rb"%2f[^/]*$", re.IGNORECASE)

Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="of the image file")]


# Registered before the record's route, because an id may contain slashes.
@router.get(f"{IMAGE}/lineage", response_model=OriginOut)
async def lineage(
    image_id: Annotated[ImageId, Path(examples=["clouds/0001.jpg"])],
    context: ContextDep,
    request: Request,
    collection: Annotated[InCollection, Query()] = None,
    release: Annotated[ReleaseId, Query()] = None,
) -> OriginOut | Response:
    """Where this image comes from: its file's hash, shard, commit, run, job, model and release."""
    found = await _origin(image_id, context, request, collection, release)
    if found is None:
        return await _record(f"{image_id}/lineage", context, collection, release)
    origin, searched = found
    return OriginOut.of(origin, searched, context.settings)


@router.get(
    f"{IMAGE}/original",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
async def original(
    image_id: Annotated[ImageId, Path(examples=["clouds/0001.jpg"])],
    context: ContextDep,
    request: Request,
    collection: Annotated[InCollection, Query()] = None,
    release: Annotated[ReleaseId, Query()] = None,
) -> Response:
    """The image as it is in the source, if the operator allows it: a file, a tar member, or a row
    of a dataset."""
    known = await _origin(image_id, context, request, collection, release)
    if known is None:
        return await _record(f"{image_id}/original", context, collection, release)
    origin, searched = known
    found = await context.originals.read(origin, searched.collection, context.deadline)
    headers = {"Cache-Control": "private, no-cache", "ETag": f'"{origin.sha256}"'}
    if found.media_type is None:
        headers["Content-Disposition"] = "attachment"
    media_type = found.media_type or "application/octet-stream"
    return Response(found.data, media_type=media_type, headers=headers)


async def _origin(
    image_id: str, context: Context, request: Request, collection: str | None, release: int | None
) -> tuple[Origin, Release] | None:
    """None if there is no such image, or if the last slash of the path is part of an id."""
    if _ENCODED_SLASH.search(request.scope.get("raw_path", b"")):
        return None
    searched = (await context.snapshot(collection, release)).release
    found = await context.ask(
        searched, lambda connection: index.origin(connection, searched, image_id)
    )
    return None if found is None else (found, searched)


async def _record(
    image_id: str, context: Context, collection: str | None, release: int | None
) -> Response:
    """The record of an image whose id ends like the path of something about another image."""
    searched, hit = await _hit(image_id, context, collection, release)
    record = ImageOut.of(hit, searched, context.settings, release)
    return Response(record.model_dump_json(), media_type="application/json")


@router.get(IMAGE)
async def image(
    image_id: Annotated[ImageId, Path(examples=["clouds/0001.jpg"])],
    context: ContextDep,
    collection: Annotated[InCollection, Query()] = None,
    release: Annotated[ReleaseId, Query()] = None,
) -> ImageOut:
    """An image of the live release, or of the given one: caption, source and lineage."""
    searched, hit = await _hit(image_id, context, collection, release)
    return ImageOut.of(hit, searched, context.settings, release)


async def _hit(
    image_id: str, context: Context, collection: str | None, release: int | None
) -> tuple[Release, Hit]:
    searched = (await context.snapshot(collection, release)).release
    hit = await context.ask(
        searched, lambda connection: index.image(connection, searched, image_id)
    )
    if hit is None:
        raise NotFound(f"Release {searched.id} has no image with this id.")
    return searched, hit


@router.get(
    "/thumbnails/{sha256}",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}, "image/webp": {}}},
        304: {"description": "Unchanged"},
    },
)
# For links made when thumbnails were WebP. The last decorator registers its route first.
@router.get("/thumbnails/{sha256}.webp", include_in_schema=False)
async def thumbnail(
    sha256: Sha256,
    context: ContextDep,
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """A small JPEG of the image with this content hash (or WebP, if an earlier version made it)."""
    headers = _forever(sha256, context.settings)
    if headers["ETag"] in if_none_match:
        return Response(status_code=304, headers=headers)
    data = await context.live.database.run(
        lambda connection: index.thumbnail(connection, sha256), context.deadline
    )
    if data is None:
        raise NotFound("There is no thumbnail with this content hash.")
    media_type = "image/webp" if data.startswith(b"RIFF") else "image/jpeg"
    return Response(data, media_type=media_type, headers=headers)


def _forever(sha256: str, settings: ServingSettings) -> dict[str, str]:
    whose = "private" if settings.private else "public"
    return {"Cache-Control": f"{whose}, max-age=31536000, immutable", "ETag": f'"{sha256}"'}
