"""Rejects are many by their share of the shard, but one is never too many."""

import pytest

from clip_assets.store.commit import Commit
from clip_assets.store.paths import ShardVersion, age, commit, is_commit, is_complete, is_of
from clip_assets.store.rejects import too_many


@pytest.mark.parametrize(
    ("images", "share", "many"),
    [
        ((4, 1, 0, 0), 0.01, False),
        ((0, 1, 0, 0), 0.01, False),
        ((33, 2, 0, 0), 0.01, True),
        ((9_900, 100, 0, 0), 0.01, False),
        ((9_899, 101, 0, 0), 0.01, True),
        ((9_899, 50, 51, 0), 0.01, True),
        ((3, 0, 0, 30), 0.01, False),
        ((99, 1, 0, 0), 0, True),
        ((0, 99, 0, 0), 1, False),
    ],
)
def test_how_many_rejects_are_too_many(
    images: tuple[int, int, int, int], share: float, many: bool
) -> None:
    """Damaged and unreadable images count; an erased file that came back does not."""
    rows, damaged, unreadable, erased = images
    made = Commit.model_construct(
        rows=rows, rejected=damaged + unreadable + erased, unreadable=unreadable, erased=erased
    )
    assert too_many(made, share) is many


def test_paths_of_commits_tell_version_attempt_and_completeness() -> None:
    """What is due can be told from a listing, without reading a commit."""
    first = ShardVersion("00003", 2, "abcdef0123456789")
    again = first._replace(attempt=12)
    incomplete, complete = commit("m", first, complete=False), commit("m", again)
    assert is_commit(incomplete) and is_commit(complete)
    assert (is_complete(incomplete), is_complete(complete)) == (False, True)
    assert (age(incomplete), age(complete)) == ((2, 0), (2, 12))
    assert is_of(incomplete, first) and is_of(complete, first)
    assert not is_of(complete, first._replace(digest="0" * 16))
    assert not is_commit("embeddings/m/00003/v00002-abcdef012345/part-00000.parquet")
