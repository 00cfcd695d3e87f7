"""What a verification finds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from clip_assets.errors import DamageError, StoreError


class Remedy(StrEnum):
    """What mends a fault, for the user."""

    EMBED_AGAIN = "`clip-assets verify --repair`, then `clip-assets backfill`, embeds it again."
    HAND_OVER = "If it is lost, `clip-assets verify --repair`, then `clip-assets backfill`."
    LOAD_AGAIN = "`clip-assets verify --repair` loads it again from the files."
    ERASE = "`clip-assets erase`, without the name of an image, completes them."
    BACKFILL = "`clip-assets backfill` makes it again."
    RESTORE = "Restore the file from a copy of the data."
    LIST = "Restore the newest head.json; or `clip-assets backfill` lists the source again."
    SOURCE = "Make the source readable again, then verify again."
    MODEL = "Restore the model that made the embeddings, or embed them again with --again."


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong. `shard` is to be embedded again, or loaded again into an index."""

    where: str
    what: str
    remedy: Remedy
    shard: str | None = None
    index_id: int | None = None

    @property
    def told(self) -> str:
        """What is wrong and what mends it."""
        return f"{self.what} {self.remedy}"

    def __str__(self) -> str:
        return f"{self.where}: {self.told}"


@dataclass(frozen=True)
class Finding:
    """What one step of a verification found.

    `figures` are counts by name, and the lowest cosine of the sample. `behind` says in sentences
    what is not up to date yet; nothing is wrong with it, and a backfill does it.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    behind: tuple[str, ...] = ()


def what_of(error: StoreError) -> str:
    """Its text, without the remedy if that is to run a verification."""
    return error.what if isinstance(error, DamageError) else str(error)


def together(findings: Iterable[Finding]) -> Finding:
    """All of it as one, with the figures of the same name added up."""
    figures: dict[str, float] = {}
    faults: list[Fault] = []
    behind: list[str] = []
    for finding in findings:
        for name, count in finding.figures.items():
            figures[name] = figures.get(name, 0) + count
        faults += finding.faults
        behind += finding.behind
    return Finding(figures, tuple(faults), tuple(behind))
