"""The rows of judgements: one for each query, image and person."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg.rows import class_row

from clip_assets.judgements.statements import statement

EVERYTHING = 2**31


@dataclass(frozen=True)
class HumanJudgement:
    """A person says that an image is right, or wrong, for a query.

    The query is `query_text` or the image `query_image`; the other is empty. `judged_by` is empty
    if nobody knows. `judgement_id` is 0 until it is stored.
    """

    collection: str
    query_text: str
    query_image: str
    image_id: str
    is_right: bool
    judged_by: str
    judged_at: datetime
    judgement_id: int = 0

    def __post_init__(self) -> None:
        if bool(self.query_text) == bool(self.query_image):
            raise ValueError("a judgement is about a text or about an image")

    @property
    def query(self) -> tuple[str, str]:
        """What was searched for: a text and the id of an image, one of them empty."""
        return self.query_text, self.query_image


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def record(connection: psycopg.Connection, judgements: Iterable[HumanJudgement]) -> int:
    """Store the judgements in one transaction, each in the place of an earlier one by the same
    person; returns their number."""
    rows = [vars(judgement) for judgement in judgements]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(statement("record"), rows)
    return len(rows)


def withdraw(connection: psycopg.Connection, judgement: HumanJudgement) -> None:
    """Forget what this person said of the image for the query, if anything."""
    connection.execute(statement("withdraw"), vars(judgement))


def listed(
    connection: psycopg.Connection,
    collection: str,
    *,
    query: tuple[str, str] | None = None,
    after: int = 0,
    limit: int = EVERYTHING,
) -> list[HumanJudgement]:
    """The judgements of a collection, or of one query, in the order of being stored; those after
    `after`, the `judgement_id` of the last one seen."""
    text, image = query or (None, None)
    cursor = connection.cursor(row_factory=class_row(HumanJudgement))
    asked = {"collection": collection, "query_text": text, "query_image": image}
    return cursor.execute(statement("listed"), {**asked, "after": after, "limit": limit}).fetchall()


def forget(connection: psycopg.Connection, collection: str, image_ids: Iterable[str]) -> None:
    """Delete every judgement that names one of these images, which are erased."""
    names = {"collection": collection, "image_ids": [*image_ids]}
    connection.execute(statement("forget"), names)


def forget_collection(connection: psycopg.Connection, collection: str) -> None:
    """Delete all judgements of a collection."""
    connection.execute(statement("forget_collection"), {"collection": collection})
