"""Judgements as CSV, so that a test set made elsewhere serves too."""

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TextIO

from clip_assets.errors import SheetError
from clip_assets.judgements.judgements import HumanJudgement, now

FIELDS = ("query_text", "query_image", "image_id", "verdict", "judged_by", "judged_at")
_REQUIRED = {"image_id", "verdict"}
_VERDICTS = {"right": True, "wrong": False}


def write(file: TextIO, judgements: Iterable[HumanJudgement]) -> int:
    """Write a header and a row for each judgement; returns the number of judgements."""
    rows = csv.writer(file)
    rows.writerow(FIELDS)
    count = 0
    for one in judgements:
        verdict = "right" if one.is_right else "wrong"
        rows.writerow([*one.query, one.image_id, verdict, one.judged_by, one.judged_at.isoformat()])
        count += 1
    return count


def read(file: TextIO, collection: str, judged_by: str) -> Iterator[HumanJudgement]:
    """The judgements of a file; `judged_by` said those whose row names nobody.

    Raises SheetError that names the line and the remedy.
    """
    rows = csv.DictReader(file)
    names = set(rows.fieldnames or ())
    missing = _REQUIRED - names
    if missing or not names & {"query_text", "query_image"}:
        raise SheetError(
            f"The first line must name the columns {', '.join(FIELDS)}; the last two, and one of "
            "the first two, may be left out."
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
    text, image = said("query_text").strip(), said("query_image")
    if bool(text) == bool(image):
        raise SheetError(f"Line {line}: give either query_text or query_image.")
    return HumanJudgement(
        collection,
        text,
        image,
        said("image_id"),
        _VERDICTS[verdict],
        said("judged_by").strip() or judged_by,
        _time(said("judged_at").strip(), line),
    )


def _time(text: str, line: int) -> datetime:
    if not text:
        return now()
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise SheetError(f"Line {line}: judged_at must be as 2026-05-01T12:00:00Z.") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)
