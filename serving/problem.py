"""The shape of every error: a problem as in RFC 9457, with a `code` for programs."""

from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"


def problem(status: int, code: str, detail: str) -> dict[str, Any]:
    """The body of an error. `code` is stable for programs; the wording of `detail` may change."""
    names = {known.value: known.phrase for known in HTTPStatus}
    title = names.get(status, "Client Closed Request")
    return {"title": title, "status": status, "code": code, "detail": detail}
