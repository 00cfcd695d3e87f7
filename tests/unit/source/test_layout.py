import pytest

from clip_assets.errors import SourceError
from clip_assets.source.layout import shards

DATA = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]


@pytest.mark.parametrize(
    ("paths", "config", "split", "expected"),
    [
        (
            [*reversed(DATA), "data/test-00000-of-00001.parquet", "README.md"],
            "default",
            "train",
            DATA,
        ),
        (["default/train/0000.parquet", *DATA], "default", "train", ["default/train/0000.parquet"]),
        (["en/test/0000.parquet", "de/test/0000.parquet"], "de", "test", ["de/test/0000.parquet"]),
        (["en/train-00000-of-00001.parquet"], "en", "train", ["en/train-00000-of-00001.parquet"]),
        (["data/en/train.parquet"], "en", "train", ["data/en/train.parquet"]),
        (
            ["default/partial-train/0.parquet"],
            "default",
            "train",
            ["default/partial-train/0.parquet"],
        ),
        (["train.parquet", "train_extra.parquet"], "default", "train", ["train.parquet"]),
        (["b.parquet", "a.parquet"], "default", "train", ["a.parquet", "b.parquet"]),
    ],
)
def test_every_usual_layout_gives_the_files_of_the_split(
    paths: list[str], config: str, split: str, expected: list[str]
) -> None:
    """Each of the hub's usual layouts gives the split's files, in order and without repeats."""
    assert shards(paths, config, split, "org/name") == expected


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["data/test-0.parquet"], r"It has data/test-0\.parquet; set `config` and `split`"),
        ([f"data/test-{n}.parquet" for n in range(7)], "and 2 more"),
        (["images.zip"], "no parquet files at all"),
    ],
)
def test_a_missing_split_is_an_error_that_lists_the_files(paths: list[str], said: str) -> None:
    """The error names the files that exist; a test split is never used as train."""
    with pytest.raises(SourceError, match=said):
        shards(paths, "default", "train", "org/name")
