"""What keeps an index from being published is said in full."""

import pytest

from clip_assets.judge.judgement import FilteredRecall, Judgement, People, Quality, Rung, Wanted
from clip_assets.quality.recall import Recall

GOOD = Recall(k=10, queries=300, mean=0.99, lower=0.98)
POOR = Recall(k=10, queries=300, mean=0.9, lower=0.87)
FEW_BUT_PERFECT = Recall(k=10, queries=5, mean=1.0, lower=0.65)
FEW = Recall(k=10, queries=5, mean=0.98, lower=0.6)


def judgement(text: Recall = GOOD, image: Recall = GOOD, **changed: object) -> Judgement:
    values = {
        "content": "c", "wanted": Wanted(recall=0.95), "ef_search": 64,
        "ladder": (Rung(ef_search=40, text=POOR, image=POOR),
                   Rung(ef_search=64, text=text, image=image)),
        "uses_index": True, "damaged_shards": (), "rows": 1000, "caption_recall": None,
        "caption_queries": 0,
    }  # fmt: skip
    return Judgement.model_validate(values | changed)


def test_no_faults() -> None:
    """The chosen rung decides, not the ones that were tried before it."""
    assert judgement().faults == []


def test_nothing_asked_shows_nothing() -> None:
    """A kind of which there was no query is a fault, except where no answer is possible."""
    none = Recall(k=10, queries=0, mean=1.0, lower=0.0)
    assert judgement(text=none).faults == ["no text queries were measured"]
    assert judgement(image=none).faults == ["no image queries were measured"]
    assert judgement(image=none, rows=1).faults == []


@pytest.mark.parametrize(
    ("text", "image", "kind"),
    [(POOR, GOOD, "text"), (GOOD, POOR, "image"), (FEW, GOOD, "text")],
)
def test_one_poor_kind_is_enough(text: Recall, image: Recall, kind: str) -> None:
    """Text and image queries must each reach what is wanted, by their lower bounds."""
    (fault,) = judgement(text, image).faults
    assert f"of {kind} queries" in fault
    assert "at ef_search 64, below the required 0.950" in fault


@pytest.mark.parametrize(("text", "image", "kind"), [(POOR, GOOD, "text"), (GOOD, POOR, "image")])
def test_poor_under_a_filter(text: Recall, image: Recall, kind: str) -> None:
    """An index that is good without a filter and poor under one is not good."""
    filtered = FilteredRecall(share=0.1, plan="hnsw", text=text, image=image)
    rung = Rung(ef_search=64, text=GOOD, image=GOOD, filtered=(filtered,))
    (fault,) = judgement(ladder=(rung,)).faults
    assert f"of {kind} queries under a filter that 10.0% match is 0.900" in fault
    assert rung.reaches_unfiltered(0.95)
    assert not rung.reaches(0.95)


def test_many_copies_are_named_as_a_cause() -> None:
    """With a low recall, and only then, the sentence says how many vectors are equal and what to
    do."""
    copies = {"equal_vectors": 700, "most_equal": 500}
    fault = judgement(POOR, **copies).faults[-1]
    assert "700 of 1000 vectors equal another's, 500 of them one and the same" in fault
    assert "remove the copies from the source" in fault
    assert judgement(**copies).faults == []
    assert len(judgement(POOR, equal_vectors=700, most_equal=2).faults) == 1


def test_a_judgement_of_an_older_version() -> None:
    """What was judged before filters were is read as it was: good or not by what was measured."""
    old = judgement().model_dump()
    for name in ("table_bytes", "hnsw_bytes", "overlap"):
        del old[name]
    for rung in old["ladder"]:
        del rung["latency"], rung["filtered"]
    assert Judgement.model_validate(old).faults == []


def test_few_perfect_queries_pass() -> None:
    """Five queries cannot prove 0.95; that none of them lost anything is enough."""
    assert judgement(FEW_BUT_PERFECT, FEW_BUT_PERFECT).faults == []


def test_captions() -> None:
    """Where a caption recall is wanted, having none is a fault too."""
    wanted = Wanted(recall=0.95, caption_recall=0.5)
    assert judgement(wanted=wanted, caption_recall=0.6).faults == []
    for found in (0.4, None):
        (fault,) = judgement(wanted=wanted, caption_recall=found).faults
        assert "captions find their own image" in fault


def test_every_fault_is_named() -> None:
    """Several faults stand side by side."""
    faulty = judgement(POOR, POOR, uses_index=False, damaged_shards=("00007",))
    assert len(faulty.faults) == 4
    assert any("00007" in fault for fault in faulty.faults)


@pytest.mark.parametrize(
    ("allowed", "live", "faults"),
    [(None, 1.0, 0), (0.2, 1.0, 0), (0.05, 1.0, 1), (0.0, 0.9, 0), (0.05, None, 0)],
)
def test_only_a_fall_beyond_what_is_allowed_is_a_fault(
    allowed: float | None, live: float | None, faults: int
) -> None:
    """By people's judgements; without a live release beside it nothing can fall."""

    def of(gain: float) -> Quality:
        return Quality(ndcg=gain, recall=gain, judged=1)

    people = People(
        judgements=9, queries=3, candidate=of(0.9), live=of(live) if live is not None else None
    )
    judged = judgement(wanted=Wanted(recall=0.95, judged_fall=allowed), people=people)
    assert len(judged.faults) == faults
    assert judged.index_faults == [], "so `recall_reached` passes"
