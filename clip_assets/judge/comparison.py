"""Compare a candidate index with the live release, as a table for the person who decides."""

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from clip_assets.index.tables import Index
from clip_assets.index.vector_type import VectorType
from clip_assets.judge.judgement import Judgement, Overlap
from clip_assets.quality.recall import Recall
from clip_assets.search.search import Release

_MEGABYTE = 1e6


class Column(BaseModel):
    """The candidate or the live release, with its judgement."""

    model_config = ConfigDict(frozen=True)

    model: str
    vector_type: VectorType = VectorType.HALFVEC
    judgement: Judgement

    @property
    def cells(self) -> dict[str, str]:
        """Cells by row name; recalls with their 95 % lower bounds."""
        reached = self.judgement.reached
        cells = {
            "images": f"{self.judgement.rows:,}",
            "vector type": self.vector_type.value,
            "ef_search": str(self.judgement.ef_search),
            "recall@10 text": _recall(reached.text),
            "recall@10 image": _recall(reached.image),
        }
        for filtered in reached.filtered:
            name = f"filter to {filtered.share * 100:g} %"
            cells[f"{name}, text"] = f"{_recall(filtered.text)}, {filtered.plan}"
            cells[f"{name}, image"] = f"{_recall(filtered.image)}, {filtered.plan}"
        if self.judgement.caption_recall is not None:
            cells["captions that find their image"] = f"{self.judgement.caption_recall:.3f}"
        if reached.latency:
            cells["ms per search, p50 / p99"] = (
                f"{reached.latency.p50_ms:.1f} / {reached.latency.p99_ms:.1f}"
            )
        if self.judgement.equal_vectors:
            cells["vectors equal to another's"] = f"{self.judgement.equal_vectors:,}"
        if self.judgement.table_bytes:
            cells["MB of rows / of HNSW"] = (
                f"{self.judgement.table_bytes / _MEGABYTE:,.1f} / "
                f"{self.judgement.hnsw_bytes / _MEGABYTE:,.1f}"
            )
        return cells


class Comparison(BaseModel):
    """Measurements of the candidate and of the live release, and the overlap of their results.

    `live` and `overlap` are None for a first release. `overlap` is also None if the same index is
    live, or if the live release has changed since the candidate was judged.
    """

    model_config = ConfigDict(frozen=True)

    candidate: Column
    live: Column | None = None
    overlap: Overlap | None = None

    @classmethod
    def of(cls, index: Index, judgement: Judgement, live: Release | None) -> Self:
        candidate = _column(index, judgement)
        shared = judgement.overlap
        if live is None or shared is None or shared.release_id != live.id:
            shared = None
        return cls(candidate=candidate, live=live and _live_column(live), overlap=shared)

    @property
    def markdown(self) -> str:
        columns = [column for column in (self.candidate, self.live) if column]
        names = dict.fromkeys(name for column in columns for name in column.cells)
        rows = [["", *(column.model for column in columns)], ["---"] * (1 + len(columns))]
        rows += [[name, *(column.cells.get(name, "-") for column in columns)] for name in names]
        rows += self._by_people
        lines = [f"| {' | '.join(row)} |" for row in rows]
        if self.overlap:
            lines.append(
                f"\nOf the ten nearest, both find {_share(self.overlap.text)} for "
                f"{self.overlap.texts} texts and {_share(self.overlap.image)} for "
                f"{self.overlap.images} images."
            )
        return "\n".join(lines)

    @property
    def _by_people(self) -> list[list[str]]:
        """Rows for the quality of both by people's judgements, measured with the candidate."""
        people = self.candidate.judgement.people
        if people is None:
            return []
        sides = [people.candidate, people.live][: 1 + bool(self.live)]
        return [
            ["judged queries, nDCG@10", *(f"{of.ndcg:.3f}" if of else "-" for of in sides)],
            ["judged queries, right found", *(f"{of.recall:.3f}" if of else "-" for of in sides)],
        ]


def _column(of: Index | Release, judgement: Judgement) -> Column:
    return Column(model=of.identity.short, vector_type=of.vector_type, judgement=judgement)


def _live_column(live: Release) -> Column | None:
    try:
        judgement = Judgement.model_validate(live.judgement)
    except ValidationError:  # judged by a version with other measurements
        return None
    return _column(live, judgement)


def _recall(recall: Recall) -> str:
    return f"{recall.mean:.3f} (≥ {recall.lower:.3f})"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
