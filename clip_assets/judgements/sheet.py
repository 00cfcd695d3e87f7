"""Judgements as CSV, so that a test set from elsewhere can be used."""

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TextIO

from pydantic import ValidationError

from clip_assets.errors import SheetError
from clip_assets.judgements.judgements import HumanJudgement, now
from clip_assets.judgements.query import TERMS, Query

_QUERIES = ("query_text", "query_image", "query_terms")
FIELDS = (*_QUERIES, "image_id", "verdict", "judged_by", "judged_at")
_REQUIRED = {"image_id", "verdict"}
_VERDICTS = {"right": True, "wrong": False}


def write(file: TextIO, judgements: Iterable[HumanJudgement]) -> int:
    """Write a header and a row for each judgement; returns the number of judgements."""
    rows = csv.writer(file)
    rows.writerow(FIELDS)
    count = 0
    for one in judgements:
        verdict = "right" if one.is_right else "wrong"
        said = (one.image_id, verdict, one.judged_by, one.judged_at.isoformat())
        rows.writerow([one.query.text, one.query.image_id, _json(one.query), *said])
        count += 1
    return count


def read(file: TextIO, collection: str, judged_by: str) -> Iterator[HumanJudgement]:
    """The judgements in a file; `judged_by` is the default for rows that name nobody.

    Raises SheetError that names the line and the remedy.
    """
    rows = csv.DictReader(file)
    names = set(rows.fieldnames or ())
    missing = _REQUIRED - names
    if missing or not names & {*_QUERIES}:
        raise SheetError(
            f"The first line must name the columns {', '.join(FIELDS)}; the last two, and two of "
            "the first three, are optional."
        )
    try:
        for row in rows:
            yield _judgement(row, rows.line_num, collection, judged_by)
    except csv.Error as error:
        raise SheetError(f"Line {rows.line_num}: {error}.") from error


def _judgement(
    row: dict[str, str | None], line: int, collection: str, judged_by: str
) -> HumanJudgement:
    def said(name: str) -> str:
        value = row.get(name) or ""
        if "\0" in value:
            raise SheetError(f"Line {line}: {name} contains a NUL character.")
        return value

    verdict = said("verdict").strip().lower()
    if verdict not in _VERDICTS:
        raise SheetError(f"Line {line}: verdict must be `right` or `wrong`, not {verdict!r}.")
    if not said("image_id"):
        raise SheetError(f"Line {line}: image_id is empty.")
    text, image, terms = (
        said("query_text").strip(),
        said("query_image"),
        said("query_terms").strip(),
    )
    if sum(map(bool, (text, image, terms))) != 1:
        raise SheetError(f"Line {line}: give one of {', '.join(_QUERIES)}.")
    return HumanJudgement(
        collection,
        _terms(terms, line) if terms else Query.of(text=text, image_id=image),
        said("image_id"),
        _VERDICTS[verdict],
        said("judged_by").strip() or judged_by,
        _time(said("judged_at").strip(), line),
    )


def _json(query: Query) -> str:
    """The terms of a query of several; otherwise empty."""
    if not query.several:
        return ""
    return TERMS.dump_json(query.several, exclude_none=True).decode()


def _terms(text: str, line: int) -> Query:
    try:
        return Query(TERMS.validate_json(text))
    except ValidationError as error:
        example = '[{"text": "a beach"}, {"text": "people", "weight": -0.5}]'
        raise SheetError(f"Line {line}: query_terms must be as {example}.") from error


def _time(text: str, line: int) -> datetime:
    if not text:
        return now()
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise SheetError(f"Line {line}: judged_at must be as 2026-05-01T12:00:00Z.") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)
