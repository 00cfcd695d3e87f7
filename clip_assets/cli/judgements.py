"""`clip-assets judgements`: exports people's judgements of hits to CSV, and imports them."""

import sys
from pathlib import Path

from clip_assets.errors import SheetError
from clip_assets.judgements import judgements, sheet
from clip_assets.postgres.connect import connect_owner, connect_reader
from clip_assets.settings import Settings


def export_to(collection: str, file: Path | None) -> int:
    """Write the collection's judgements to the file, or to standard output; returns their number.

    Raises SheetError if the file cannot be written.
    """
    with connect_reader(Settings()) as connection:
        rows = judgements.listed(connection, collection)
    if file is None:
        return sheet.write(sys.stdout, rows)
    try:
        with file.open("w", newline="", encoding="utf-8") as opened:
            return sheet.write(opened, rows)
    except OSError as error:
        raise SheetError(f"{file} cannot be written: {error.strerror}.") from error


def import_from(collection: str, file: Path, judged_by: str) -> int:
    """Store the file's judgements, all or none; returns their number.

    Raises SheetError if the file cannot be read.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:  # spreadsheets write a BOM
            rows = list(sheet.read(opened, collection, judged_by))
    except OSError as error:
        raise SheetError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SheetError(f"{file} is not UTF-8. Save it as UTF-8.") from error
    with connect_owner(Settings()) as connection:
        return judgements.record(connection, rows)
