"""People's judgements of hits: recorded and listed."""

from typing import Annotated

from fastapi import APIRouter, Query
from psycopg import Connection
from psycopg.rows import TupleRow

from clip_assets.judgements import judgements as rows
from clip_assets.judgements.judgements import HumanJudgement
from clip_assets.search import search as index
from clip_assets.search.search import Release

from ..errors import NotFound
from ..judging import Judged, JudgementOut, Verdict, Wanted
from ..routes.refusals import READ_ONLY, REFUSALS
from ..service import ContextDep

router = APIRouter(
    prefix="/v1/judgements", tags=["judgements"], responses={**REFUSALS, 409: READ_ONLY}
)


@router.post("")
async def judge(judged: Judged, context: ContextDep) -> JudgementOut:
    """Judge an image as right or wrong for a query. This replaces the same key's earlier judgement
    of the image for the query; null withdraws it."""
    release = context.live.require(judged.collection).release
    context.writing.require()
    await context.ask(release, lambda connection: _require_known(connection, release, judged))
    name = context.key.name if context.key else ""
    row = judged.row(release.collection, name)

    def written(connection: Connection[TupleRow]) -> None:
        if judged.verdict is None:
            rows.withdraw(connection, row)
        else:
            rows.record(connection, [row])

    await context.writing.run(written, context.deadline)
    return JudgementOut.of(row, judged.verdict)


@router.get("")
async def judgements(wanted: Annotated[Wanted, Query()], context: ContextDep) -> list[JudgementOut]:
    """The judgements of a collection, in the order in which they were recorded."""
    name = context.live.require(wanted.collection).release.collection
    found = await context.live.database.run(
        lambda connection: rows.listed(
            connection, name, query=wanted.query, after=wanted.after, limit=wanted.limit
        ),
        context.deadline,
    )
    return [JudgementOut.of(row, _verdict(row)) for row in found]


def _verdict(row: HumanJudgement) -> Verdict:
    return "right" if row.is_right else "wrong"


def _require_known(connection: Connection[TupleRow], release: Release, judged: Judged) -> bool:
    for image_id in (judged.image_id, *judged.query.image_ids):
        if index.vector_of(connection, release, image_id) is None:
            raise NotFound(f"Release {release.id} has no image {image_id!r}.")
    return True
