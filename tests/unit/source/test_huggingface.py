from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clip_assets.errors import SourceError
from clip_assets.source import Source
from clip_assets.source.config import HuggingFaceConfig
from clip_assets.source.open import open_source

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _image(number: int) -> bytes:
    return b"image %d" % number


def _shard(path: Path, numbers: Sequence[int], rows_per_group: int = 3) -> Path:
    table = pa.table(
        {
            "image": pa.array([{"bytes": _image(n), "path": f"{n}.jpg"} for n in numbers], IMAGE),
            "key": pa.array(numbers),
            "texts": pa.array([[f"number {n}", "second"] for n in numbers]),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    _shard(tmp_path / "data/train-00001-of-00002.parquet", range(100, 300), rows_per_group=90)
    _shard(tmp_path / "data/train-00000-of-00002.parquet", range(7))
    return tmp_path


def _source(folder: Path, **options: Any) -> Source:
    return open_source(HuggingFaceConfig(type="huggingface", dataset=str(folder), **options))


def test_each_row_is_an_image_named_by_file_and_row(dataset: Path) -> None:
    """Without an id column, images are named by file and row, in file order."""
    refs = list(_source(dataset).list())
    assert len(refs) == 207
    assert refs[6].image_id == "data/train-00000-of-00002/00000006"
    assert refs[7].image_id == "data/train-00001-of-00002/00000000"
    assert refs[8].uri == str(dataset.resolve() / "data/train-00001-of-00002.parquet")
    assert (refs[8].row, refs[8].offset, refs[8].size, refs[8].caption) == (1, None, None, None)


def test_ids_and_captions_come_from_the_configured_columns(dataset: Path) -> None:
    """Ids are the id column as text; if a row has several captions, the first is used."""
    refs = list(_source(dataset, id_column="key", caption_column="texts").list())
    assert (refs[2].image_id, refs[2].caption) == ("2", "number 2")
    assert (refs[-1].image_id, refs[-1].caption) == ("299", "number 299")


@pytest.mark.parametrize("order", [range(207), range(206, -1, -1), [0, 206, 3, 150, 2, 2, 206]])
def test_images_are_read_in_the_requested_order(dataset: Path, order: Sequence[int]) -> None:
    """Holds across files, row groups and batches: forwards, backwards and at random."""
    source = _source(dataset, id_column="key")
    refs = list(source.list())
    wanted = [refs[number] for number in order]
    assert list(source.read(wanted)) == [_image(int(ref.image_id)) for ref in wanted]


def test_an_image_column_may_be_plain_binary(tmp_path: Path) -> None:
    """Images may be plain bytes, including large_binary, in a column of any name."""
    table = pa.table({"jpg": pa.array([b"1", None], pa.large_binary())})
    pq.write_table(table, tmp_path / "train.parquet")
    source = _source(tmp_path, image_column="jpg")
    data, empty = source.read(list(source.list()))
    assert data == b"1"
    assert str(empty) == "the row holds no image bytes"


def test_rows_of_a_changed_file_are_errors(dataset: Path) -> None:
    """Once a parquet file has changed, its rows raise errors instead of returning other images."""
    source = _source(dataset)
    refs = list(source.list())[5:9]
    _shard(dataset / "data/train-00000-of-00002.parquet", range(50, 57), rows_per_group=4)
    first, second, *others = source.read(refs)
    assert str(first) == str(second) == "the parquet file has changed since it was catalogued"
    assert others == [_image(100), _image(101)]


def test_a_damaged_row_group_rejects_only_its_own_rows(tmp_path: Path) -> None:
    """Rows in the other row groups are still read."""
    path = tmp_path / "train.parquet"
    images = [{"bytes": bytes([n]) * 1000, "path": ""} for n in range(6)]
    table = pa.table({"image": pa.array(images, IMAGE)})
    pq.write_table(table, path, row_group_size=2, compression=None, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[data.index(bytes([3]) * 500)] ^= 1
    path.write_bytes(data)
    source = _source(tmp_path)
    read = list(source.read(list(source.list())))
    assert [isinstance(item, OSError) for item in read] == [False, False, True, True, False, False]
    assert str(read[2]) == str(read[3]) == "damaged row group 1 of the parquet file"
    assert read[5] == bytes([5]) * 1000


def test_a_missing_file_rejects_its_rows(dataset: Path) -> None:
    """Each row of a file that is gone is an error; rows of other files are read."""
    source = _source(dataset)
    refs = list(source.list())[5:9]
    (dataset / "data/train-00000-of-00002.parquet").unlink()
    read = list(source.read(refs))
    assert [str(item) for item in read[:2]] == ["no such file"] * 2
    assert read[2:] == [_image(100), _image(101)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image_column": "picture"}, "no column 'picture'; it has image, key, texts"),
        ({"image_column": "key"}, "column 'key' holds int64, not image bytes"),
        ({"id_column": "uid"}, "no column 'uid'"),
        ({"caption_column": "text"}, "no column 'text'"),
        ({"split": "test"}, "no parquet files of configuration 'default', split 'test'"),
    ],
)
def test_a_wrong_column_or_split_is_named(
    dataset: Path, options: dict[str, str], said: str
) -> None:
    """The error names the missing column or split, and those that exist."""
    with pytest.raises(SourceError, match=said):
        list(_source(dataset, **options).list())


def test_a_repeated_or_missing_id_is_refused(tmp_path: Path) -> None:
    """Ids must be present and unique; the error names the rows."""
    for keys, said in (([1, 2, 1], "row 0 and .* row 2"), ([1, None], "no usable id")):
        images = pa.array([{"bytes": b"x", "path": ""}] * len(keys), IMAGE)
        pq.write_table(pa.table({"image": images, "key": keys}), tmp_path / "train.parquet")
        with pytest.raises(SourceError, match=said):
            list(_source(tmp_path, id_column="key").list())


def test_a_file_that_is_not_parquet_is_named(dataset: Path) -> None:
    """A file with the right name but the wrong content fails the listing, which names it."""
    (dataset / "data/train-00001-of-00002.parquet").write_bytes(b"<html>not found</html>")
    with pytest.raises(SourceError, match=r"train-00001-of-00002\.parquet cannot be used"):
        list(_source(dataset).list())


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """A local path that does not exist is an error; the hub is not contacted."""
    with pytest.raises(SourceError, match="is not a folder on this machine"):
        _source(tmp_path / "nowhere")
