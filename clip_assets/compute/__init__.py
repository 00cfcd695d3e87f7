"""Where an embedding job runs. Every client takes a job file and tells which shards ended how."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import dagster as dg

from clip_assets.errors import JobError
from clip_assets.node.report import State


@dataclass(frozen=True)
class ShardReport:
    """How one shard of a job ended, as the node told it."""

    shard: str
    state: State
    message: str


class EmbedClient(Protocol):
    """Runs `python -m clip_assets.node.embed --job URI` somewhere, and waits for it."""

    def run(self, context: dg.AssetExecutionContext, job_uri: str) -> list[ShardReport]:
        """One report a shard. Raises JobError if the job could not do its work."""
        ...


def reports_of(messages: Sequence[object]) -> list[ShardReport]:
    """The reports among a Pipes session's custom messages.

    Raises JobError if there are none: a job that says nothing has not been seen to work.
    """
    reports = [ShardReport(**message) for message in messages if isinstance(message, dict)]
    if not reports:
        raise JobError(
            "The job ended without a word about any shard. Look at the run's stderr for what the "
            "node printed, and run it again: finished parts are kept."
        )
    return reports
