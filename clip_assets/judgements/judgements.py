"""The rows of judgements: one for each query, image and person."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from clip_assets.judgements.query import TERMS, Query
from clip_assets.judgements.statements import statement

EVERYTHING = 2**31


@dataclass(frozen=True)
class HumanJudgement:
    """A person's verdict that an image is right, or wrong, for a query.

    `judged_by` is empty if unknown. `judgement_id` is 0 until it is stored.
    """

    collection: str
    query: Query
    image_id: str
    is_right: bool
    judged_by: str
    judged_at: datetime
    judgement_id: int = 0


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def record(connection: psycopg.Connection, judgements: Iterable[HumanJudgement]) -> int:
    """Store the judgements in one transaction, each replacing an earlier one by the same person;
    returns their number."""
    rows = [vars(judgement) | _stored(judgement.query) for judgement in judgements]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(statement("record"), rows)
    return len(rows)


def withdraw(connection: psycopg.Connection, judgement: HumanJudgement) -> None:
    """Delete this person's judgement of the image for the query, if there is one."""
    connection.execute(statement("withdraw"), vars(judgement) | _stored(judgement.query))


def listed(
    connection: psycopg.Connection,
    collection: str,
    *,
    query: Query | None = None,
    after: int = 0,
    limit: int = EVERYTHING,
) -> list[HumanJudgement]:
    """The judgements of a collection, or of one query, in the order in which they were stored,
    after the judgement with the id `after`."""
    asked = {"collection": collection, "after": after, "limit": limit}
    asked |= _stored(query) if query else dict.fromkeys(("text", "image", "terms"))
    cursor = connection.cursor(row_factory=kwargs_row(_judgement))
    return cursor.execute(statement("listed"), asked).fetchall()


def forget(connection: psycopg.Connection, collection: str, image_ids: Iterable[str]) -> None:
    """Delete every judgement that names one of these erased images."""
    names = {"collection": collection, "image_ids": [*image_ids]}
    connection.execute(statement("forget"), names)


def forget_collection(connection: psycopg.Connection, collection: str) -> None:
    """Delete all judgements of a collection."""
    connection.execute(statement("forget_collection"), {"collection": collection})


def _stored(query: Query) -> dict[str, Any]:
    """The query as the table's columns; the columns of other kinds of query are empty."""
    terms = [term.model_dump(exclude_none=True) for term in query.several]
    return {"text": query.text, "image": query.image_id, "terms": Jsonb(terms)}


def _judgement(
    *, query_text: str, query_image: str, query_terms: Any, **others: Any
) -> HumanJudgement:
    query = (
        Query(TERMS.validate_python(query_terms))
        if query_terms
        else Query.of(text=query_text, image_id=query_image)
    )
    return HumanJudgement(query=query, **others)
