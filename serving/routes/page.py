"""The search page. It needs no model or database, because its script fetches everything else."""

from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.templating import Jinja2Templates

from ..service import ContextDep

FOLDER = Path(__file__).resolve().parent.parent

router = APIRouter(include_in_schema=False)
_templates = Jinja2Templates(FOLDER / "templates")


@router.get("/")
async def page(request: Request, context: ContextDep) -> Response:
    settings = context.settings
    values = {
        "examples": settings.examples,
        "note": settings.note,
        "upload_bytes": settings.upload_bytes,
    }
    headers = {"Cache-Control": "no-cache"}
    return _templates.TemplateResponse(request, "page.html", values, headers=headers)
