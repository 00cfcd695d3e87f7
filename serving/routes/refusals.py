"""The error responses that routes document; all are problems."""

from typing import Any

from ..problem import MEDIA_TYPE


def _refusal(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


READ_ONLY = _refusal("This service, or its database user, may only read")
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: _refusal("The request is not valid HTTP or not a valid form"),
    401: _refusal("The service requires an API key; the request has none, or an invalid one"),
    403: _refusal("The key's role does not suffice"),
    404: _refusal("This service has no such image, collection or release"),
    405: _refusal("The route answers other methods; see Allow"),
    408: _refusal("The request took too long to arrive"),
    413: _refusal("The request body is larger than the limit"),
    422: _refusal("The query is invalid"),
    429: _refusal("The client sent more requests than it may; see Retry-After"),
    431: _refusal("The request's header is larger than 64 KiB"),
    503: _refusal("Not ready or busy; see Retry-After"),
}
