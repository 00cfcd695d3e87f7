"""How thoroughly a search looks, and the recall that was measured for it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from clip_assets.quality.recall import Recall
from clip_assets.search.search import Release

Accuracy = Literal["fast", "balanced", "exact"]
Kind = Literal["text", "image"]

FAST_RECALL = 0.9
"""The recall@10 that `fast` has for both kinds of query."""


def searched(release: Release, accuracy: Accuracy) -> Release:
    """The release with the ef_search of this accuracy.

    `balanced` is its own ef_search; `fast` is the smallest one measured to reach FAST_RECALL, if
    any did.
    """
    if accuracy == "exact":
        return replace(release, exact=True)
    if accuracy == "balanced":
        return release
    kept = [rung["ef_search"] for rung in _rungs(release) if _least(rung) >= FAST_RECALL]
    return replace(release, ef_search=min([*kept, release.ef_search]))


def measured_recall(release: Release, kind: Kind, *, filtered: bool) -> Recall | None:
    """recall@10 of searches of the release, as measured before it was published.

    With a filter, this is the lowest recall measured with and without filters. None if nothing was
    measured at its ef_search.
    """
    if release.exact:
        return Recall(k=10, queries=0, mean=1.0, lower=1.0)
    for rung in _rungs(release):
        if rung["ef_search"] == release.ef_search:
            found = [rung, *(rung.get("filtered") or [])] if filtered else [rung]
            return min((Recall.model_validate(one[kind]) for one in found), key=lambda r: r.lower)
    return None


def _rungs(release: Release) -> Iterator[dict[str, Any]]:
    """The measurements, as serialised by `judge.judgement.Rung`."""
    yield from release.judgement.get("below") or []
    yield from release.judgement.get("ladder") or []


def _least(rung: dict[str, Any]) -> float:
    return min(float(rung[kind]["mean"]) for kind in ("text", "image"))
