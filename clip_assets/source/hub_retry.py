"""Waits when the Hugging Face hub asks for it."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import httpx
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

LONGEST = 900.0  # seconds of waiting for one answer; the hub counts requests in windows of 300
_PAUSES = (1.0, 2.0, 4.0)  # seconds, where an answer does not say how long
_BUSY = (429, 500, 502, 503, 504)

Answer = TypeVar("Answer")


def with_retries(ask: Callable[[], Answer]) -> Answer:
    """The answer of `ask`, repeated while the hub is busy or reports too many requests.

    Waits as long as `Retry-After` or `RateLimit` says, at most `LONGEST` seconds in all; without
    them, tries three times. Raises what `ask` raises.
    """
    pauses = iter(_PAUSES)
    left = LONGEST
    while True:
        try:
            return ask()
        except (httpx.HTTPError, OSError) as error:
            wait = _wait(error, pauses)
            if wait is None or wait > left:
                raise
            left -= wait
            time.sleep(wait)


def refusal(error: BaseException | None) -> HfHubHTTPError | None:
    """The hub's answer behind an error: a download that cannot begin hides it."""
    while error is not None and not isinstance(error, HfHubHTTPError):
        error = error.__cause__
    return error


def _wait(error: Exception, pauses: Iterator[float]) -> float | None:
    """Seconds; None if asking again will not help."""
    refused = refusal(error)
    if refused is None or refused.response.status_code not in _BUSY:
        return None
    headers = refused.response.headers
    asked = headers.get("retry-after", "")
    if asked.isdecimal():
        return float(asked)
    limits = parse_ratelimit_headers(headers) if refused.response.status_code == 429 else None
    return limits.reset_in_seconds + 1.0 if limits else next(pauses, None)
