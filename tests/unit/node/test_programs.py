"""The programs of the node teach by example and refuse what they cannot use."""

import pytest
import typer
from typer.testing import CliRunner

from clip_assets.node import catalog, embed

PROGRAMS = {"catalog": catalog.app, "embed": embed.app}


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_shows_commands_to_copy(name: str) -> None:
    """`--help` prints each example as it is typed, line by line."""
    printed = (
        CliRunner(mix_stderr=False)
        .invoke(PROGRAMS[name], ["--help"], catch_exceptions=False)
        .stdout
    )
    examples = [line for line in printed.splitlines() if line.endswith("\\")]
    assert len(examples) == 1
    assert f"    python -m clip_assets.node.{name} --data" in examples[0]


@pytest.mark.parametrize(
    ("app", "options", "told"),
    [
        (catalog.app, ["--data", "d", "--collection", "c"], "nothing says where its images are"),
        (embed.app, ["--data", "d"], "give --job, or --data, --collection and --model"),
        (embed.app, ["--job", "/nowhere/jobs/1/job.json"], "job.json does not exist"),
        (embed.app, ["--data", "/nowhere", "--collection", "c", "--model", "ViT-B-32"],
         "weights must come from exactly one place"),
        (embed.app, ["--data", "/nowhere", "--collection", "c", "--model", "hf-hub:a/b"],
         "c has no catalog yet"),
    ],
)  # fmt: skip
def test_what_cannot_start_says_why(app: typer.Typer, options: list[str], told: str) -> None:
    """Options that cannot be used end the program with status 2 and a reason on stderr."""
    ended = CliRunner(mix_stderr=False).invoke(app, options, catch_exceptions=False)
    assert ended.exit_code == 2
    assert told in ended.stderr
