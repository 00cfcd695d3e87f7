"""The measurements of an index, and whether it may be published."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from clip_assets.index.hnsw import MANY_EQUAL
from clip_assets.quality.recall import Recall

KINDS: tuple[Literal["text", "image"], ...] = ("text", "image")


class _Measured(BaseModel):
    model_config = ConfigDict(frozen=True)


class FilteredRecall(_Measured):
    """Recall among a share of the images, and the plan that found them.

    `hnsw` is HNSW search with iterative scans; `exact` compares all matching images.
    """

    share: float
    plan: Literal["hnsw", "exact"]
    text: Recall
    image: Recall

    def reaches(self, wanted: float) -> bool:
        return _reaches(self.text, wanted) and _reaches(self.image, wanted)


class Latency(_Measured):
    """Milliseconds of one unfiltered search on one connection, while the index was judged."""

    p50_ms: float
    p99_ms: float


class Rung(_Measured):
    """Recall at one ef_search; with filters only if unfiltered recall is high enough."""

    ef_search: int
    text: Recall
    image: Recall
    latency: Latency | None = None
    filtered: tuple[FilteredRecall, ...] = ()

    def reaches(self, wanted: float) -> bool:
        return self.reaches_unfiltered(wanted) and all(
            filtered.reaches(wanted) for filtered in self.filtered
        )

    def reaches_unfiltered(self, wanted: float) -> bool:
        return _reaches(self.text, wanted) and _reaches(self.image, wanted)


class Overlap(_Measured):
    """Overlap of the results with those of the release that was live during the judgement.

    `text` and `image` are the mean shares of the ten nearest that both find; None if the two have
    no queries of that kind in common.
    """

    release_id: int
    model: str
    text: float | None
    image: float | None
    texts: int
    images: int


class Quality(_Measured):
    """Means over judged queries: nDCG@10; the share of right images, of at most ten, among the ten
    nearest; and the share of the ten nearest that anybody judged. An image that nobody judged
    counts as wrong."""

    ndcg: float
    recall: float
    judged: float


class People(_Measured):
    """Quality by people's judgements, of the candidate and of the release that was live then.

    `live` is None if nothing else was live. `problem` says why text queries were skipped.
    """

    judgements: int
    queries: int
    candidate: Quality | None
    live: Quality | None = None
    release_id: int | None = None
    problem: str | None = None

    @property
    def fall(self) -> float:
        """The share of the live release's nDCG that the candidate loses; 0 if it loses none."""
        if self.candidate is None or self.live is None or not self.live.ndcg:
            return 0.0
        return max(0.0, 1 - self.candidate.ndcg / self.live.ndcg)

    @property
    def markdown(self) -> str:
        """Both side by side."""
        sides = [("candidate", self.candidate), ("live", self.live)]
        rows = [
            f"| {name} | {of.ndcg:.3f} | {of.recall:.3f} | {of.judged:.0%} |"
            for name, of in sides
            if of
        ]
        head = "| | nDCG@10 | right ones found | judged of ten |\n|---|---|---|---|"
        return "\n".join([head, *rows])


class Wanted(_Measured):
    """What an index must reach to be published.

    `recall` is recall@10 against exact search, to be exceeded with 95 % confidence, with and
    without filters.
    `caption_recall`, if set, is the share of captions that must find their image in the top ten.
    `judged_fall`, if set, is the share of the live release's nDCG@10, by people's judgements, that
    may be lost.
    """

    recall: float
    caption_recall: float | None = None
    judged_fall: float | None = None


class Judgement(_Measured):
    """The measurements of an index with one content.

    `caption_recall` is the share of captions whose own image is among the k nearest. It measures
    model and preprocessing together; None if the collection has no captions. `table_bytes` includes
    the vectors but not the HNSW. `below` are rungs below the ladder, measured for display only.
    `equal_vectors` counts the rows whose vector another row also has; `most_equal` is the largest
    number of rows with the same vector.
    """

    content: str
    wanted: Wanted
    ef_search: int
    ladder: tuple[Rung, ...]
    below: tuple[Rung, ...] = ()
    uses_index: bool
    damaged_shards: tuple[str, ...]
    rows: int
    caption_recall: float | None
    caption_queries: int
    table_bytes: int = 0
    hnsw_bytes: int = 0
    equal_vectors: int = 0
    most_equal: int = 0
    overlap: Overlap | None = None
    people: People | None = None

    @property
    def reached(self) -> Rung:
        """The chosen rung: the first that reached the required recall, otherwise the last."""
        return self.ladder[-1]

    @property
    def faults(self) -> list[str]:
        """Why this index must not be published; empty if it may be."""
        return self.index_faults + self.judged_faults

    @property
    def index_faults(self) -> list[str]:
        """The faults in measured recall, captions, rows and plan."""
        faults = [
            f"recall@{recall.k} of {kind} queries{where} is {recall.mean:.3f} (at least "
            f"{recall.lower:.3f} with 95 % confidence) at ef_search {self.ef_search}, "
            f"below the required {self.wanted.recall:.3f}"
            for kind, where, recall in self._recalls
            if not _reaches(recall, self.wanted.recall)
        ]
        if faults and self.most_equal > MANY_EQUAL:
            faults.append(
                f"{self.equal_vectors} of {self.rows} vectors equal another's, {self.most_equal} "
                "of them one and the same, which can cut other images off from the HNSW at any "
                "ef_search: remove the copies from the source (`clip-assets duplicates` lists them)"
            )
        faults += [f"no {kind} queries were measured" for kind in self._unasked]
        if (self.caption_recall or 0.0) < (self.wanted.caption_recall or 0.0):
            faults.append(
                f"captions find their own image in {self.caption_recall or 0.0:.3f} of cases, "
                f"below the required {self.wanted.caption_recall:.3f}: pixels, normalisation or "
                "row order may be wrong"
            )
        if self.damaged_shards:
            faults.append(
                f"the table's rows differ from the committed ones in shards "
                f"{', '.join(self.damaged_shards[:5])}"
            )
        if not self.uses_index:
            faults.append("the planner does not use the HNSW index for a search")
        return faults

    @property
    def judged_faults(self) -> list[str]:
        """The faults by people's judgements."""
        allowed, people = self.wanted.judged_fall, self.people
        if allowed is None or people is None or people.fall <= allowed:
            return []
        assert people.candidate is not None and people.live is not None, "else nothing falls"
        return [
            f"by people's judgements of {people.queries} queries nDCG@10 falls from "
            f"{people.live.ndcg:.3f} to {people.candidate.ndcg:.3f}, by more than the "
            f"{allowed:.1%} that may be lost"
        ]

    @property
    def _unasked(self) -> list[str]:
        """Kinds without a measured query; an image query needs a second image to find."""
        others = {"text": self.rows, "image": self.rows - 1}
        return [kind for kind in KINDS if others[kind] and not getattr(self.reached, kind).queries]

    @property
    def _recalls(self) -> list[tuple[str, str, Recall]]:
        """Each recall of the chosen rung, with its kind of query and its filter."""
        found: list[tuple[str, str, Recall]] = []
        for kind in KINDS:
            found.append((kind, "", getattr(self.reached, kind)))
            for filtered in self.reached.filtered:
                where = f" under a filter that {filtered.share:.1%} match"
                found.append((kind, where, getattr(filtered, kind)))
        return found


def _reaches(recall: Recall, wanted: float) -> bool:
    """Few queries cannot prove 0.95 even if all are perfect, so a mean of 1.0 also passes."""
    return recall.lower >= wanted or recall.mean == 1.0
