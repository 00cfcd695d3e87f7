"""Search by texts, stored images and vectors, or by an uploaded image."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Depends, File, Form, UploadFile
from fastapi import Query as QueryParameters
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.models import Example
from pydantic import ValidationError

from clip_assets.search.filters import Filter

from ..answer import answered, answered_to_upload
from ..batch_search import all_answered
from ..errors import Refusal
from ..problem import problem
from ..query import (
    AddressQuery,
    BatchRequest,
    CompareRequest,
    Count,
    CursorText,
    HowAccurate,
    InCollection,
    MinScore,
    ReleaseId,
    SearchOptions,
    SearchRequest,
    Similar,
    filter_of_form,
)
from ..routes.json_route import JsonRoute
from ..routes.refusals import REFUSALS
from ..schema import BatchAnswer, BatchItem, Comparison, Problem, SearchAnswer
from ..service import ContextDep
from ..settings import ServingSettings
from ..upload import Budget, decoded

JSON_BYTES = 64 * 2**10
BATCH_BYTES = 4 * JSON_BYTES
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


@dataclass(frozen=True)
class UploadForm:
    """The fields of the form beside the file."""

    k: Annotated[Count, Form()] = 24
    min_score: Annotated[MinScore, Form()] = None
    collapse_duplicates: Annotated[bool, Form()] = False
    collapse_similar: Annotated[Similar, Form()] = None
    cursor: Annotated[CursorText, Form()] = None
    accuracy: Annotated[HowAccurate, Form()] = "balanced"
    collection: Annotated[InCollection, Form()] = None
    release: Annotated[ReleaseId, Form()] = None
    filter: Annotated[str, Form(max_length=JSON_BYTES, description="the `filter` as JSON")] = ""

    @property
    def options(self) -> SearchOptions:
        return SearchOptions(**{**vars(self), "filter": _filter(self.filter)})


def router(settings: ServingSettings) -> APIRouter:
    """The routes; each has its own limit on the size of the body."""
    routes = APIRouter(prefix="/v1", tags=["search"], responses=REFUSALS)
    routes.add_api_route(
        "/search",
        search,
        methods=["POST"],
        max_body_size=JSON_BYTES,
        route_class_override=JsonRoute,
    )
    routes.get("/search")(search_by_address)
    routes.post("/search/batch", max_body_size=BATCH_BYTES)(search_batch)
    routes.post("/compare", max_body_size=JSON_BYTES)(compare)
    routes.post(
        "/search/image",
        max_body_size=settings.upload_bytes + FORM_OVERHEAD,
        form_limits={"max_files": 1, "max_fields": 10},
    )(search_by_upload)
    return routes


async def search(
    query: Annotated[SearchRequest, Body(openapi_examples=EXAMPLES)], context: ContextDep
) -> SearchAnswer:
    """Images nearest to a text, to a stored image, or to several weighted terms. Images that are
    searched for are not among the hits."""
    return await answered(query, context)


async def search_by_address(
    query: Annotated[AddressQuery, QueryParameters()], context: ContextDep
) -> SearchAnswer:
    """The same search for links, browsers and curl: `/v1/search?q=a+cloud&k=5&words=sky`."""
    return await answered(query.request, context)


async def search_batch(query: BatchRequest, context: ContextDep) -> BatchAnswer:
    """Up to 16 searches within the deadline of one request: their texts are encoded together, and
    they search side by side. A search that cannot be answered has a problem instead of an answer.
    """
    return BatchAnswer(items=[*map(_item, await all_answered(query.searches, context))])


async def compare(query: CompareRequest, context: ContextDep) -> Comparison:
    """The answers of two releases of a collection to one query, and the share of hits that both
    have. If another model than the live one's made a release, it is loaded for texts;
    until then the answer is the problem `model_loading`."""
    asked = query.query.model_copy(update={"cursor": None})
    searches = [asked.model_copy(update={"release": release}) for release in query.releases]
    first, second = map(_or_raise, await all_answered(searches, context))
    ours, theirs = ({hit.image_id for hit in answer.hits} for answer in (first, second))
    most = max(len(ours), len(theirs))
    return Comparison(overlap=len(ours & theirs) / most if most else None, answers=(first, second))


async def search_by_upload(
    context: ContextDep,
    file: Annotated[UploadFile, File(description="JPEG, PNG or WebP")],
    form: Annotated[UploadForm, Depends()],
) -> SearchAnswer:
    """Images nearest to an uploaded image. The file is neither stored nor logged."""
    options = form.options
    budget = Budget(context.settings.upload_pixels, context.settings.upload_jpeg_pixels)
    # Read only when its turn comes; until then a large file stays on disk.
    return await answered_to_upload(
        options, file.file.read, lambda data, enough: decoded(data, budget, enough), context
    )


def _or_raise(found: SearchAnswer | Refusal) -> SearchAnswer:
    if isinstance(found, Refusal):
        raise found
    return found


def _item(found: SearchAnswer | Refusal) -> BatchItem:
    if isinstance(found, SearchAnswer):
        return BatchItem(answer=found)
    body = problem(found.status, found.code, str(found))
    return BatchItem(problem=Problem.model_validate(body))


def _filter(text: str) -> Filter | None:
    try:
        return filter_of_form(text)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", "filter", *fault["loc"])} for fault in error.errors()]
        raise RequestValidationError(faults) from error
