"""Every refusal of the service, and the one place that turns errors into responses."""

import logging
from collections.abc import Sequence
from typing import Any

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from clip_assets.errors import ClipAssetsError, ModelError, ReleaseError, SettingsError
from clip_assets.search.search import Release

from .problem import MEDIA_TYPE, problem

logger = logging.getLogger(__name__)


class Refusal(Exception):  # noqa: N818 - an answer, not a bug
    """An intentional response other than 200."""

    status = 400
    code = "bad_request"
    retry_after: int | None = None


class NotFound(Refusal):
    """This service has no such image, thumbnail or collection."""

    status = 404
    code = "not_found"


class Forbidden(Refusal):
    """The service does not do this for this client."""

    status = 403
    code = "forbidden"


class UnusableImage(Refusal):
    """The uploaded file is not an image that the service can decode."""

    status = 422
    code = "unusable_image"


class Unanswerable(Refusal):
    """The query is well-formed, but means nothing for this release."""

    status = 422
    code = "invalid_request"


class ReadOnly(Refusal):
    """This service, or its database user, may only read."""

    status = 409
    code = "read_only"


class ClientGone(Refusal):
    """The client disconnected while its request waited; nobody reads this response."""

    status = 499
    code = "client_gone"


class Unavailable(Refusal):
    """The service cannot answer now; a retry may succeed."""

    status = 503
    code = "unavailable"
    retry_after = 1


class NotReady(Unavailable):
    """No release is live, or its model is not loaded yet."""

    code = "not_ready"
    retry_after = 2


class ModelLoading(Unavailable):
    """The model of an earlier release is being loaded for texts to be compared."""

    code = "model_loading"
    retry_after = 3


class IndexDamaged(NotReady):
    """The live release's index lacks rows that were loaded into it."""

    def __init__(self, release: Release) -> None:
        super().__init__(
            f"The index of release {release.id} is damaged: run `clip-assets backfill "
            f"{release.collection}`."
        )


class Busy(Unavailable):
    """The queue is full."""

    code = "busy"


class DeadlineExceeded(Unavailable):
    """The request's deadline has passed."""

    code = "deadline_exceeded"


def install(app: FastAPI) -> None:
    """Answer every error as a problem.

    The handlers are coroutines, because Starlette runs plain functions in a thread, and refusals
    must cost little.
    """
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(psycopg.OperationalError, _database)
    app.add_exception_handler(psycopg.errors.UndefinedTable, _database)
    app.add_exception_handler(ClipAssetsError, _ours)
    app.add_exception_handler(Exception, _unknown)


def _answer(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    return JSONResponse(problem(status, code, message), status, headers, MEDIA_TYPE)


def _unavailable(code: str, message: str, retry_after: int = 1) -> JSONResponse:
    return _answer(503, code, message, {"Retry-After": str(retry_after)})


async def _refusal(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
    return _answer(error.status, error.code, str(error), headers)


async def _gone(_: Request, __: Exception) -> JSONResponse:
    return _answer(ClientGone.status, ClientGone.code, "The client left before its request ended.")


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = _allowed(request)
    codes = {404: "not_found", 405: "method_not_allowed", 408: "body_timeout", 503: "busy"}
    code = codes.get(error.status_code, "bad_request")
    return _answer(error.status_code, code, error.detail, headers)


def _allowed(request: Request) -> str:
    """The methods of all routes with this path: the router reports only those of the first."""
    methods = [
        method
        for method in ("GET", "POST", "DELETE")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]
    return ", ".join(["HEAD", *methods] if "GET" in methods else methods)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Name the field and the fault, never the input, which may be large or private."""
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if any(fault["type"] == "model_attributes_type" for fault in faults):
        kind = request.headers.get("content-type", "")
        if "json" not in kind.lower():  # as curl -d sends it: the body is not parsed then
            detail = "The body must be JSON: send it with `Content-Type: application/json`."
            return _answer(422, "invalid_request", detail)
    return _answer(
        422, "invalid_request", "; ".join(_told(one) for one in faults if _own(one, faults))
    )


def _told(fault: dict[str, Any]) -> str:
    if fault["type"] == "json_invalid":  # its location is a character offset, not a field
        return f"The body is not valid JSON: {fault['ctx']['error']}, character {fault['loc'][1]}."
    field = ".".join(str(part) for part in fault["loc"][1:])
    message: str = fault["msg"].removeprefix("Value error, ")
    if message.startswith("Expected UploadFile"):
        message = "must be a file with a name, as `curl -F file=@photo.jpg` sends it"
    return f"{field}: {message}" if field else message


def _own(fault: dict[str, Any], faults: Sequence[dict[str, Any]]) -> bool:
    """Whether the fault does not follow from another one: a list whose items are invalid is also
    reported as too short."""
    place = fault["loc"]
    inner = (one["loc"] for one in faults if len(one["loc"]) > len(place))
    return fault["type"] != "too_short" or all(loc[: len(place)] != place for loc in inner)


async def _database(_: Request, error: Exception) -> JSONResponse:
    logger.warning("database: %s", error)
    return _unavailable("database_unavailable", "The database does not answer. Try again shortly.")


async def _ours(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, ReleaseError | ModelError | SettingsError):  # such as the file of keys
        return _unavailable("not_ready", str(error), retry_after=2)
    logger.error("unexpected error", exc_info=error)
    return await _unknown(request, error)


async def _unknown(_: Request, __: Exception) -> JSONResponse:
    """The text of an unexpected error may contain a path or a secret, so it is only logged."""
    return _answer(500, "internal", "The service failed. Its log says why.")
