"""What was measured of an index, and whether that lets it be published."""

from pydantic import BaseModel, ConfigDict

from clip_assets.quality.recall import Recall


class Rung(BaseModel):
    """Recall at one ef_search."""

    model_config = ConfigDict(frozen=True)

    ef_search: int
    text: Recall
    image: Recall

    def reaches(self, wanted: float) -> bool:
        return _reaches(self.text, wanted) and _reaches(self.image, wanted)


class Wanted(BaseModel):
    """What an index must reach to be published.

    `recall` is recall@10 against exact search, to be exceeded with 95 % confidence.
    `caption_recall`, where given, is how often a caption must find its own image among ten.
    """

    model_config = ConfigDict(frozen=True)

    recall: float
    caption_recall: float | None = None


class Judgement(BaseModel):
    """What was measured of one content of an index.

    `caption_recall` is the share of captions whose own image is among the k nearest: quality of
    model and preprocessing together, None where the collection has no captions.
    """

    model_config = ConfigDict(frozen=True)

    content: str
    wanted: Wanted
    ef_search: int
    ladder: tuple[Rung, ...]
    uses_index: bool
    damaged_shards: tuple[str, ...]
    rows: int
    caption_recall: float | None
    caption_queries: int

    @property
    def reached(self) -> Rung:
        """The rung that was chosen: the first that reached what is wanted, else the last."""
        return self.ladder[-1]

    @property
    def faults(self) -> list[str]:
        """Why this index must not be published; empty if it may be."""
        faults = []
        for kind in ("text", "image"):
            recall: Recall = getattr(self.reached, kind)
            if not _reaches(recall, self.wanted.recall):
                faults.append(
                    f"recall@{recall.k} of {kind} queries is {recall.mean:.3f} (at least "
                    f"{recall.lower:.3f} with 95 % confidence) at ef_search {self.ef_search}, "
                    f"below the wanted {self.wanted.recall:.3f}"
                )
        if (self.caption_recall or 0.0) < (self.wanted.caption_recall or 0.0):
            faults.append(
                f"captions find their own image in {self.caption_recall or 0.0:.3f} of cases, "
                f"below the wanted {self.wanted.caption_recall:.3f}: pixels, normalisation or the "
                "order of rows may be wrong"
            )
        if self.damaged_shards:
            faults.append(
                f"the table's rows are not the committed ones in shards "
                f"{', '.join(self.damaged_shards[:5])}"
            )
        if not self.uses_index:
            faults.append("the planner does not use the HNSW index for a search")
        return faults


def _reaches(recall: Recall, wanted: float) -> bool:
    """Few queries cannot prove 0.95 even if all are perfect; then losing nothing is enough."""
    return recall.lower >= wanted or recall.mean == 1.0
