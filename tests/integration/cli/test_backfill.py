"""What `clip-assets backfill` says when a run of it fails."""

from collections.abc import Iterator

import dagster as dg

from clip_assets.cli.backfill import _reason


def _events(asset: dg.AssetsDefinition) -> list[dg.DagsterEvent]:
    return dg.materialize([asset], raise_on_error=False).all_events


def test_a_blocked_release_says_what_was_measured() -> None:
    """The failed blocking check speaks for itself; others do not block, and are not named."""
    specs = [
        dg.AssetCheckSpec("recall_reached", asset="index", blocking=True),
        dg.AssetCheckSpec("matches_embeddings", asset="index", blocking=True),
        dg.AssetCheckSpec("few_rejects", asset="index"),
    ]

    @dg.asset(check_specs=specs)
    def index() -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        yield dg.MaterializeResult()
        for spec in specs:
            passed = spec.name == "matches_embeddings"
            yield dg.AssetCheckResult(
                passed=passed, check_name=spec.name, description=f"{spec.name} is {passed}"
            )

    assert _reason(_events(index)) == "recall_reached: recall_reached is False"


def test_a_failure_says_its_sentence() -> None:
    """Ours, and the first line of anybody else's exception."""

    @dg.asset
    def ours() -> None:
        raise dg.Failure("The bucket is gone. Set CLIP_ASSETS_DATA.")

    @dg.asset
    def theirs() -> None:
        raise ValueError("no such file")

    assert _reason(_events(ours)) == "The bucket is gone. Set CLIP_ASSETS_DATA."
    assert _reason(_events(theirs)).startswith("no such file")
