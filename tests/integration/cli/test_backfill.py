"""The runs of `clip-assets backfill`, what it shows, and what it says when one fails."""

import io
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from clip_assets import project
from clip_assets.cli.backfill import Backfill, _reason
from clip_assets.cli.bar import waiting
from clip_assets.cli.new import write_project
from clip_assets.dagster_private import create_run
from clip_assets.errors import SettingsError
from clip_assets.settings import Settings


def _events(asset: dg.AssetsDefinition) -> list[dg.DagsterEvent]:
    return dg.materialize([asset], raise_on_error=False).all_events


def test_lines_of_the_node_do_not_reach_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines written to stderr meanwhile do not break the progress bar, also in a terminal."""
    shown = io.StringIO()
    with waiting(Console(file=shown, force_terminal=True), "photos: listing images"):
        print("shard 00003: 2000 images", file=sys.stderr)
        print("a warning")
    assert "listing images" in shown.getvalue()
    assert "shard 00003" not in shown.getvalue()
    told = capsys.readouterr()
    assert ("shard 00003" in told.err, "a warning" in told.out) == (True, True)


def test_a_blocked_release_says_what_was_measured() -> None:
    """The error is the failed blocking check's description; non-blocking checks are not named."""
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
    """The error is our message, or the first line of another exception."""

    @dg.asset
    def ours() -> None:
        raise dg.Failure("The bucket is gone. Set CLIP_ASSETS_DATA.")

    @dg.asset
    def theirs() -> None:
        raise ValueError("no such file")

    assert _reason(_events(ours)) == "The bucket is gone. Set CLIP_ASSETS_DATA."
    assert _reason(_events(theirs)).startswith("no such file")


@dg.executor(name="never")
def _never(_: dg.InitExecutorContext) -> dg.Executor:
    raise ValueError("this executor cannot start")


@pytest.mark.parametrize("executor", [None, dg.multiprocess_executor, _never])
def test_the_projects_executor_is_not_used(executor: dg.ExecutorDefinition | None) -> None:
    """Neither Dagster's default one, which starts processes, nor one of the project's own."""

    @dg.asset
    def index() -> None: ...

    defs = dg.Definitions([index], executor=executor, loggers={"ours": dg.json_console_logger})
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = str(uuid.uuid4())
        run = create_run(instance, defs, index.key, run_id, location="photos-search", tags={})
        events = run.execute()
        assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.SUCCESS, _reason(events)
        assert instance.get_latest_materialization_event(index.key)


def test_a_project_that_cannot_be_loaded_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the cause and the command that shows where, without a traceback."""
    made = write_project(tmp_path / "cannot-load")
    monkeypatch.setenv(project.VARIABLE, str(made.root))
    monkeypatch.syspath_prepend(str(made.root))
    (made.defs_folder / "photos").mkdir()
    (made.defs_folder / "photos/defs.yaml").write_text(
        "type: clip_assets.ImageCollection\n"
        "attributes: {collection: photos, model: {name: ViT-B-32}}"
    )
    with pytest.raises(SettingsError, match=r"`dg check defs` shows where(.|\n)*model ViT-B-32"):
        Backfill(Settings(made.root), "photos")
