"""Where the page hands over an API key: pictures in a page cannot send a header, but a cookie."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from clip_assets.keys import KeyFile, Role

from ..errors import Refusal
from ..middleware.access import COOKIE, given
from ..routes.refusals import REFUSALS

router = APIRouter(prefix="/v1/session", tags=["service"], responses=REFUSALS)


class WrongKey(Refusal):
    """The key is not, or no longer, one of this service's."""

    status = 401
    code = "unauthenticated"


class Login(BaseModel):
    """An API key."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(min_length=1, max_length=200, pattern="^[A-Za-z0-9_-]+$")


class Session(BaseModel):
    """Whether this service asks for keys, and what the one that was given may do."""

    needs_key: bool
    role: Role | None = Field(description="of the key; null if there is none, or if none is needed")


@router.get("")
async def session(request: Request) -> Session:
    """Whether requests need an API key."""
    keys: KeyFile | None = request.app.state.keys
    key = keys.find(given(request.headers)) if keys else None
    return Session(needs_key=keys is not None, role=key.role if key else None)


@router.post("", status_code=204)
async def log_in(login: Login, request: Request) -> Response:
    """Keeps the key in a cookie that scripts cannot read and other sites cannot use."""
    keys: KeyFile | None = request.app.state.keys
    if keys is not None and keys.find(login.key) is None:
        raise WrongKey("This key is not, or no longer, valid.")
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
