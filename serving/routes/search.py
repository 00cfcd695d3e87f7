"""Search by a text, by a stored image or by an uploaded image."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, File, Form, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.models import Example
from psycopg import Connection
from psycopg.rows import TupleRow
from pydantic import ValidationError

from clip_assets.search import search as index
from clip_assets.search.filters import Filter
from clip_assets.search.search import Hits
from serving.encoder import Vector
from serving.errors import NotFound
from serving.live import Snapshot
from serving.schema import (
    AnswerRelease,
    Count,
    ErrorOut,
    HitOut,
    InCollection,
    Query,
    SearchAnswer,
    SearchRequest,
    Took,
    filter_of_form,
    warning,
)
from serving.service import Context, ContextDep
from serving.settings import ServingSettings
from serving.upload import Budget, decoded

JSON_BYTES = 64 * 2**10
FORM_OVERHEAD = 64 * 2**10

EXAMPLES = {
    "text": Example(summary="By text", value={"text": "a photo of a cloud", "k": 5}),
    "filter": Example(
        summary="With a filter",
        value={
            "text": "a photo of a cloud",
            "filter": {"uri_prefix": "s3://bucket/photos/2024/", "min_width": 1200},
        },
    ),
    "like": Example(summary="Similar to a stored image", value={"image_id": "travel/cloud"}),
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorOut, "description": "The request is not valid HTTP, or no valid form"},
    404: {"model": ErrorOut, "description": "This service has no such image or collection"},
    405: {"model": ErrorOut, "description": "The route answers other methods; see Allow"},
    408: {"model": ErrorOut, "description": "The request took too long to arrive"},
    413: {"model": ErrorOut, "description": "The request body is larger than the limit"},
    422: {"model": ErrorOut, "description": "The query is invalid"},
    431: {"model": ErrorOut, "description": "The request's header is larger than 64 KiB"},
    503: {"model": ErrorOut, "description": "Not ready or busy; see Retry-After"},
}


def router(settings: ServingSettings) -> APIRouter:
    """The routes; each has its own limit on the size of the body."""
    routes = APIRouter(prefix="/v1", tags=["search"], responses=REFUSALS)
    routes.post("/search", max_body_size=JSON_BYTES)(search)
    routes.post(
        "/search/image",
        max_body_size=settings.upload_bytes + FORM_OVERHEAD,
        form_limits={"max_files": 1, "max_fields": 4},
    )(search_by_upload)
    return routes


async def search(
    query: Annotated[SearchRequest, Body(openapi_examples=EXAMPLES)], context: ContextDep
) -> SearchAnswer:
    """Images nearest to a text, or to a stored image; that image itself is not among the hits."""
    snapshot = context.live.require(query.collection)
    if query.text is not None:
        vector = await snapshot.encoder.text(query.text, context.deadline)
        hits = await _nearest(context, snapshot, vector, query.k, query.filter)
        return _answer(Query(kind="text", text=query.text), context, snapshot, hits)
    assert query.image_id is not None
    hits = await _like(context, snapshot, query.image_id, query.k, query.filter)
    return _answer(Query(kind="image_id", image_id=query.image_id), context, snapshot, hits)


async def search_by_upload(
    context: ContextDep,
    file: Annotated[UploadFile, File(description="JPEG, PNG or WebP")],
    k: Annotated[Count, Form()] = 24,
    collection: Annotated[InCollection, Form()] = None,
    only: Annotated[
        str, Form(alias="filter", max_length=JSON_BYTES, description="the `filter` as JSON")
    ] = "",
) -> SearchAnswer:
    """Images nearest to an uploaded image. The file is neither stored nor logged."""
    snapshot = context.live.require(collection)
    passing = _filter(only)
    budget = Budget(context.settings.upload_pixels, context.settings.upload_jpeg_pixels)
    # Read in its turn: until then a large file is on disk.
    vector = await snapshot.encoder.image(
        lambda: decoded(file.file.read(), budget), context.deadline
    )
    hits = await _nearest(context, snapshot, vector, k, passing)
    return _answer(Query(kind="upload"), context, snapshot, hits)


def _filter(text: str) -> Filter | None:
    try:
        return filter_of_form(text)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", "filter", *fault["loc"])} for fault in error.errors()]
        raise RequestValidationError(faults) from error


async def _nearest(
    context: Context, snapshot: Snapshot, vector: Vector, k: int, only: Filter | None
) -> Hits:
    return await context.ask(
        snapshot.release,
        lambda connection: index.search(connection, snapshot.release, vector, k, only),
    )


async def _like(
    context: Context, snapshot: Snapshot, image_id: str, k: int, only: Filter | None
) -> Hits:
    """The image is its own nearest neighbour, so search for one more hit and drop the image."""

    def neighbours(connection: Connection[TupleRow]) -> Hits | None:
        vector = index.vector_of(connection, snapshot.release, image_id)
        if vector is None:
            return None
        return index.search(connection, snapshot.release, vector, k + 1, only)

    hits = await context.ask(snapshot.release, neighbours)
    if hits is None:
        raise NotFound("The live release has no image with this id.")
    others = tuple(hit for hit in hits.hits if hit.image_id != image_id)[:k]
    return Hits(others, hits.complete or len(others) == k)


def _answer(query: Query, context: Context, snapshot: Snapshot, hits: Hits) -> SearchAnswer:
    release, notes = snapshot.release, context.deadline.notes
    notes.update(results=len(hits.hits), release=release.id)
    return SearchAnswer(
        query=query,
        collection=release.collection,
        release=AnswerRelease(
            id=release.id,
            model=release.identity.short,
            untrained=release.identity.untrained,
            published_at=release.published_at,
        ),
        warning=warning(release),
        took_ms=Took(encode=notes.get("encoder_ms", 0.0), search=notes["database_ms"]),
        complete=hits.complete,
        hits=[HitOut.of(hit, context.settings) for hit in hits.hits],
    )
