"""Stores the page's API key in a cookie, because a page's pictures cannot send a header."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from clip_assets.keys import KeyFile, Role

from ..errors import Refusal
from ..middleware.access import COOKIE, given
from ..routes.refusals import REFUSALS

router = APIRouter(prefix="/v1/session", tags=["service"], responses=REFUSALS)


class WrongKey(Refusal):
    """The key is invalid or was revoked."""

    status = 401
    code = "unauthenticated"


class Login(BaseModel):
    """An API key."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(min_length=1, max_length=200, pattern="^[A-Za-z0-9_-]+$")


class Session(BaseModel):
    """Whether this service requires keys, and the role of the key that was sent."""

    needs_key: bool
    role: Role | None = Field(
        description="the key's role; null without a key, or if none is needed"
    )


@router.get("")
async def session(request: Request) -> Session:
    """Whether requests need an API key."""
    keys: KeyFile | None = request.app.state.keys
    key = keys.find(given(request.headers)) if keys else None
    return Session(needs_key=keys is not None, role=key.role if key else None)


@router.post("", status_code=204)
async def log_in(login: Login, request: Request) -> Response:
    """Store the key in a cookie that scripts cannot read and other sites cannot use."""
    keys: KeyFile | None = request.app.state.keys
    if keys is not None and keys.find(login.key) is None:
        raise WrongKey("This key is invalid or was revoked.")
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE,
        login.key,
        path=f"{request.scope.get('root_path', '')}/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
        max_age=30 * 86_400,
    )
    return response
