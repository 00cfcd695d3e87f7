"""The conditions of `clip-assets search`."""

import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from clip_assets.errors import FilterError
from clip_assets.search.filters import Filter

_CONDITION = re.compile(r"(?P<name>[^<>=]+)(?P<sign>>=|<=|=)(?P<value>.*)", re.DOTALL)
_ENDS = {">=": "min", "<=": "max"}


def filter_of(where: Sequence[str], given: str | None) -> Filter | None:
    """The filter that `--where` and `--filter` describe; None if there is neither.

    Each `where` is `NAME=VALUE`, `NAME>=VALUE` or `NAME<=VALUE` on a declared column; several
    values of one name are alternatives, and no value asks for images without one. `given` is a
    filter as in the HTTP API. Raises FilterError.
    """
    columns: dict[str, Any] = {}
    for text in where:
        found = _CONDITION.fullmatch(text)
        if not found:
            raise FilterError(
                f"{text!r} is not a condition. Write NAME=VALUE, NAME>=VALUE or NAME<=VALUE."
            )
        _add(columns, found["name"].strip(), found["sign"], found["value"].strip())
    try:
        parts = [Filter(columns=columns)] if columns else []
        parts += [Filter.model_validate(json.loads(given))] if given else []
    except (ValidationError, ValueError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(error)
        raise FilterError(f"The filter cannot be used ({reason}).") from error
    return Filter(all=tuple(parts)) if len(parts) > 1 else next(iter(parts), None)


def _add(columns: dict[str, Any], name: str, sign: str, value: str) -> None:
    known = columns.get(name)
    if sign in _ENDS and (known is None or isinstance(known, dict)) and value:
        columns[name] = {**(known or {}), _ENDS[sign]: value}
    elif sign == "=" and not value and name not in columns:
        columns[name] = None
    elif sign == "=" and value and (name not in columns or isinstance(known, list)):
        columns[name] = [*(known or []), value]
    else:
        raise FilterError(
            f"The conditions on {name!r} cannot be combined: give values, a range or nothing."
        )
