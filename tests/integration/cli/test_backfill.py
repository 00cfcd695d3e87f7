"""What `clip-assets backfill` shows, and says when a run of it fails."""

import io
import sys
from collections.abc import Iterator

import dagster as dg
import pytest
from rich.console import Console

from clip_assets.cli.backfill import _reason
from clip_assets.cli.bar import waiting


def _events(asset: dg.AssetsDefinition) -> list[dg.DagsterEvent]:
    return dg.materialize([asset], raise_on_error=False).all_events


def test_lines_of_the_node_do_not_reach_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """What is written to stderr meanwhile stays there, also in a terminal."""
    shown = io.StringIO()
    with waiting(Console(file=shown, force_terminal=True), "photos: listing images"):
        print("shard 00003: 2000 images", file=sys.stderr)
        print("a warning")
    assert "listing images" in shown.getvalue()
    assert "shard 00003" not in shown.getvalue()
    told = capsys.readouterr()
    assert ("shard 00003" in told.err, "a warning" in told.out) == (True, True)


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
