"""Where an embedding job runs. A client takes a job and reports how each shard ends."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import dagster as dg

from clip_assets.dagster_skypilot import Machine
from clip_assets.errors import JobError
from clip_assets.node.job import EmbedJob
from clip_assets.node.progress import State
from clip_assets.store.objects import Objects


@dataclass(frozen=True)
class ShardOutcome:
    """How one shard of a job ended, as the node reported it, and on which machine."""

    shard: str
    state: State
    message: str
    machine: Machine | None = None


class EmbedClient(Protocol):
    """Runs `python -m clip_assets.node.embed --job URI` somewhere and waits for it."""

    def run(
        self, context: dg.AssetExecutionContext, objects: Objects, job: EmbedJob
    ) -> Iterator[ShardOutcome]:
        """Yields one outcome per shard as it ends. Raises JobError if the job failed."""
        ...


class Outcomes:
    """Extracts shards' outcomes from a Pipes session's custom messages, each once."""

    def __init__(self) -> None:
        self._seen = 0
        self._failed = False

    def new(self, messages: Sequence[object], machine: Machine | None = None) -> list[ShardOutcome]:
        fresh = [message for message in messages[self._seen :] if isinstance(message, dict)]
        self._seen = len(messages)
        outcomes = [ShardOutcome(**message, machine=machine) for message in fresh]
        self._failed |= any(outcome.state == "failed" for outcome in outcomes)
        return outcomes

    @property
    def any_failed(self) -> bool:
        """Whether the node reported a failed shard; its process then exits with an error."""
        return self._failed

    def require_any(self) -> None:
        """Raises JobError if the job reported nothing, whatever its exit status."""
        if not self._seen:
            raise JobError(
                "The job ended without reporting any shard. See the run's stderr for what the node "
                "printed, then run it again: finished parts are kept."
            )
