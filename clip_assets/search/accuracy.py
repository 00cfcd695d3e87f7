"""How thoroughly a search looks, and the recall that this was measured to have."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from clip_assets.quality.recall import Recall
from clip_assets.search.search import Release

Accuracy = Literal["fast", "balanced", "exact"]
Kind = Literal["text", "image"]

FAST_RECALL = 0.9
"""The recall@10 of both kinds of query that `fast` keeps."""


def searched(release: Release, accuracy: Accuracy) -> Release:
    """The release as a search of that accuracy uses it.

    `balanced` is its own ef_search; `fast` is the smallest one that was measured to keep
    FAST_RECALL, if any was.
    """
    if accuracy == "exact":
        return replace(release, exact=True)
    if accuracy == "balanced":
        return release
    kept = [rung["ef_search"] for rung in _rungs(release) if _least(rung) >= FAST_RECALL]
    return replace(release, ef_search=min([*kept, release.ef_search]))


def measured_recall(release: Release, kind: Kind, *, filtered: bool) -> Recall | None:
    """recall@10 of searches of the release, as it was measured before it was published.

    With a filter it is the lowest of those measured with and without filters. None if nothing was
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
    """The measurements, as `judge.judgement.Rung` writes them."""
    yield from release.judgement.get("below") or []
    yield from release.judgement.get("ladder") or []


def _least(rung: dict[str, Any]) -> float:
    return min(float(rung[kind]["mean"]) for kind in ("text", "image"))
