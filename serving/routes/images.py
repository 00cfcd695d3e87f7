"""The record of an image, its lineage and its file, and its thumbnail by content hash."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response

from clip_assets.search import search as index
from clip_assets.search.search import Hit, Release

from ..errors import NotFound
from ..image_path import IMAGE
from ..query import ImageId, InCollection, ReleaseId
from ..routes.refusals import REFUSALS
from ..schema import ImageOut, OriginOut
from ..service import Context, ContextDep
from ..settings import ServingSettings

router = APIRouter(tags=["images"], responses=REFUSALS)


Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="of the image file")]


# Before the record: an id may contain slashes.
@router.get(f"{IMAGE}/lineage")
async def lineage(
    image_id: Annotated[ImageId, Path(examples=["clouds/0001.jpg"])],
    context: ContextDep,
    collection: Annotated[InCollection, Query()] = None,
    release: Annotated[ReleaseId, Query()] = None,
) -> OriginOut:
    """Why this image is in the answers: its file's hash, shard, commit, run, job, model and
    release."""
    searched = (await context.snapshot(collection, release)).release
    found = await context.ask(
        searched, lambda connection: index.origin(connection, searched, image_id)
    )
    if found is None:
        raise NotFound(f"Release {searched.id} has no image with this id.")
    return OriginOut.of(found, searched, context.settings)


@router.get(
    f"{IMAGE}/original",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
async def original(
    image_id: Annotated[ImageId, Path(examples=["clouds/0001.jpg"])],
    context: ContextDep,
    collection: Annotated[InCollection, Query()] = None,
    release: Annotated[ReleaseId, Query()] = None,
) -> Response:
    """The image as it is in the source, where the operator allows it: a file, a member of a tar, a
    row of a dataset."""
    searched = (await context.snapshot(collection, release)).release
    origin = await context.ask(
        searched, lambda connection: index.origin(connection, searched, image_id)
    )
    if origin is None:
        raise NotFound(f"Release {searched.id} has no image with this id.")
    found = await context.originals.read(origin, searched.collection, context.deadline)
    headers = {"Cache-Control": "private, no-cache", "ETag": f'"{origin.sha256}"'}
    if found.media_type is None:
        headers["Content-Disposition"] = "attachment"
    media_type = found.media_type or "application/octet-stream"
    return Response(found.data, media_type=media_type, headers=headers)


@router.get(IMAGE)
async def image(
    image_id: Annotated[ImageId, Path(examples=["clouds/0001.jpg"])],
    context: ContextDep,
    collection: Annotated[InCollection, Query()] = None,
    release: Annotated[ReleaseId, Query()] = None,
) -> ImageOut:
    """An image of the live release, or of another one: caption, source and lineage."""
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
    """A small JPEG of the image with this content hash (WebP, if an earlier version made it)."""
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
