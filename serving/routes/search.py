"""Search by texts, stored images and vectors, or by an uploaded image."""

from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Body, File, Form, UploadFile
from fastapi import Query as QueryParameters
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.models import Example
from pydantic import ValidationError

from clip_assets.search.filters import Filter
from clip_assets.search.search import Hits

from ..errors import NotFound
from ..live import Snapshot
from ..nearest import Part, Wanted, nearest
from ..problem import MEDIA_TYPE
from ..query import (
    AddressQuery,
    Count,
    InCollection,
    SearchRequest,
    Term,
    filter_of_form,
)
from ..schema import (
    AnswerRelease,
    HitOut,
    Query,
    SearchAnswer,
    TermOut,
    Took,
    warning,
)
from ..service import Context, ContextDep
from ..settings import ServingSettings
from ..upload import Budget, decoded

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
    "terms": Example(
        summary="By several terms",
        value={
            "terms": [
                {"image_id": "travel/cloud"},
                {"text": "sunset", "weight": 0.5},
                {"text": "people", "weight": -0.5},
            ],
            "min_score": 0.1,
        },
    ),
    "like": Example(summary="Similar to a stored image", value={"image_id": "travel/cloud"}),
}


def _refusal(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: _refusal("The request is not valid HTTP, or no valid form"),
    404: _refusal("This service has no such image or collection"),
    405: _refusal("The route answers other methods; see Allow"),
    408: _refusal("The request took too long to arrive"),
    413: _refusal("The request body is larger than the limit"),
    422: _refusal("The query is invalid"),
    431: _refusal("The request's header is larger than 64 KiB"),
    503: _refusal("Not ready or busy; see Retry-After"),
}


def router(settings: ServingSettings) -> APIRouter:
    """The routes; each has its own limit on the size of the body."""
    routes = APIRouter(prefix="/v1", tags=["search"], responses=REFUSALS)
    routes.post("/search", max_body_size=JSON_BYTES)(search)
    routes.get("/search")(search_by_address)
    routes.post(
        "/search/image",
        max_body_size=settings.upload_bytes + FORM_OVERHEAD,
        form_limits={"max_files": 1, "max_fields": 4},
    )(search_by_upload)
    return routes


async def search(
    query: Annotated[SearchRequest, Body(openapi_examples=EXAMPLES)], context: ContextDep
) -> SearchAnswer:
    """Images nearest to a text, to a stored image, or to several terms, some of them to be far
    from; images that are searched for are not among the hits."""
    snapshot = context.live.require(query.collection)
    parts, terms = [], []
    for term in query.all_terms:
        part, read = await _part(term, context, snapshot)
        parts.append(part)
        terms.append(TermOut(text=term.text, read=read, image_id=term.image_id, weight=term.weight))
    wanted = Wanted(
        query.k,
        query.filter,
        query.min_score,
        frozenset(query.exclude_ids),
        query.collapse_duplicates,
    )
    hits = await _nearest(context, snapshot, parts, wanted)
    return _answer(_understood(query, terms), context, snapshot, hits)


async def search_by_address(
    query: Annotated[AddressQuery, QueryParameters()], context: ContextDep
) -> SearchAnswer:
    """The same for links, browsers and curl: `/v1/search?q=a+cloud&k=5&words=sky`."""
    return await search(query.request, context)


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
    wanted = Wanted(k, passing)
    hits = await _nearest(context, snapshot, [Part(vector)], wanted)
    return _answer(Query(kind="upload"), context, snapshot, hits)


def _filter(text: str) -> Filter | None:
    try:
        return filter_of_form(text)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", "filter", *fault["loc"])} for fault in error.errors()]
        raise RequestValidationError(faults) from error


async def _part(term: Term, context: Context, snapshot: Snapshot) -> tuple[Part, str | None]:
    """The term to search for; of a text beyond the model's context, also what the model reads."""
    if term.image_id is not None:
        return Part(term.image_id, term.weight), None
    if term.vector is not None:
        return Part(np.asarray(term.vector), term.weight), None
    assert term.text is not None
    encoded = await snapshot.encoder.text(term.text, context.deadline)
    return Part(encoded.vector, term.weight), encoded.read


async def _nearest(context: Context, snapshot: Snapshot, parts: list[Part], wanted: Wanted) -> Hits:
    hits = await context.ask(
        snapshot.release,
        lambda connection: nearest(connection, snapshot.release, parts, wanted),
    )
    if hits is None:
        raise NotFound("The live release has no image with this id.")
    return hits


def _understood(query: SearchRequest, terms: list[TermOut]) -> Query:
    if query.terms:
        return Query(kind="terms", terms=terms)
    (term,) = terms
    kind: Literal["text", "image_id"] = "text" if term.text is not None else "image_id"
    return Query(kind=kind, text=term.text, read=term.read, image_id=term.image_id)


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
