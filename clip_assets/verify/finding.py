"""The findings of a verification: faults, figures and what is behind."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from clip_assets.errors import DamageError, StoreError


class Remedy(StrEnum):
    """The remedies for faults, as shown to users."""

    EMBED_AGAIN = "`clip-assets verify --repair`, then `clip-assets backfill`, embeds it again."
    HAND_OVER = "If it is lost, `clip-assets verify --repair`, then `clip-assets backfill`."
    LOAD_AGAIN = "`clip-assets verify --repair` reloads it from the files."
    ERASE = "`clip-assets erase`, without the name of an image, completes them."
    BACKFILL = "`clip-assets backfill` makes it again."
    RESTORE = "Restore the file from a copy of the data."
    LIST = "Restore the newest head.json; or `clip-assets backfill` lists the source again."
    SOURCE = "Make the source readable again, then verify again."
    MODEL = "Restore the model that made the embeddings, or embed them again with --again."


@dataclass(frozen=True)
class Fault:
    """One fault. `shard` must be embedded again, or reloaded into an index."""

    where: str
    what: str
    remedy: Remedy
    shard: str | None = None
    index_id: int | None = None

    @property
    def sentence(self) -> str:
        """The fault and its remedy."""
        return f"{self.what} {self.remedy}"

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}"


@dataclass(frozen=True)
class Finding:
    """What one step of a verification found.

    `figures` are counts by name, and the lowest cosine of the sample. `behind` has sentences about
    what is not up to date yet; this is no fault, and a backfill catches up.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    behind: tuple[str, ...] = ()


def what_of(error: StoreError) -> str:
    """The error's text, without the remedy to run a verification."""
    return error.what if isinstance(error, DamageError) else str(error)


def together(findings: Iterable[Finding]) -> Finding:
    """The findings as one, with figures of the same name added up."""
    figures: dict[str, float] = {}
    faults: list[Fault] = []
    behind: list[str] = []
    for finding in findings:
        for name, count in finding.figures.items():
            figures[name] = figures.get(name, 0) + count
        faults += finding.faults
        behind += finding.behind
    return Finding(figures, tuple(faults), tuple(behind))
