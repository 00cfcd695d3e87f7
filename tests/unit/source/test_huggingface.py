import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clip_assets.errors import SourceError
from clip_assets.source import Source, ordered
from clip_assets.source.config import HuggingFaceConfig, Knowledge
from clip_assets.source.open import open_source
from clip_assets.source.rows import ImageColumn

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


def test_a_file_that_is_missing_among_numbered_ones_is_a_fault(dataset: Path) -> None:
    """As in a copy that is not whole: its images are not taken for deleted."""
    (dataset / "data/train-00000-of-00002.parquet").unlink()
    first, *others = _source(dataset).list()
    assert (first.image_id, len(others)) == ("data/train-00000-of-00002/", 200)
    assert first.below == first.image_id
    told = "missing, as the names of the others tell; copy it, or name the others in `files`"
    assert first.fault == told


def test_some_of_numbered_files_may_be_meant(dataset: Path) -> None:
    """Named in the YAML or by the card: the others are neither missing nor listed."""
    first = "data/train-00000-of-00002.parquet"
    assert len(list(_source(dataset, files=[first]).list())) == 7
    card = f"configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: {first}\n"
    (dataset / "README.md").write_text(f"---\n{card}---\n")
    assert len(list(_source(dataset).list())) == 7
    (dataset / "data/train-00001-of-00002.parquet").unlink()
    assert len(list(_source(dataset, files=["data/train-*"]).list())) == 7


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


def test_a_read_that_hangs_costs_its_own_row(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a mount that stalls; the rows after it are read, by another thread."""
    source = _source(dataset, id_column="key")
    refs = [*source.list()][:4]
    left = {1: 0.0}
    monkeypatch.setattr(ordered._Task, "left", lambda task, _: left.get(task.item.row, 600.0))
    image, never = ImageColumn.image, Event()

    def stalled(self: ImageColumn, row: int, place: int | None = None) -> bytes | None:
        if row == 1:
            never.wait(600)
        return image(self, row, place)

    monkeypatch.setattr(ImageColumn, "image", stalled)
    first, late, *others = source.read(refs)
    never.set()
    assert (first, others) == (_image(0), [_image(2), _image(3)])
    assert isinstance(late, TimeoutError)


def test_a_pipe_is_not_waited_for(dataset: Path) -> None:
    """A named pipe called like a shard is one row of rejects; the other shards are listed."""
    shard = dataset / "data/train-00000-of-00002.parquet"
    shard.unlink()
    os.mkfifo(shard)
    refs = list(_source(dataset).list())
    assert [ref.fault for ref in refs if ref.fault] == ["it is not a regular file"]
    assert len(refs) == 201


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


def test_a_missing_id_costs_that_one_row(tmp_path: Path) -> None:
    """The row without an id has a reason; the other is listed."""
    images = pa.array([{"bytes": b"x", "path": ""}] * 2, IMAGE)
    pq.write_table(pa.table({"image": images, "key": [1, None]}), tmp_path / "train.parquet")
    good, bad = _source(tmp_path, id_column="key").list()
    assert (good.image_id, good.fault) == ("1", None)
    assert bad.fault == "it has no id; give it one in the id column"


def test_a_file_that_is_not_parquet_costs_its_own_rows(dataset: Path) -> None:
    """One row stands for the whole file, with the reason; the rows of others are listed."""
    (dataset / "data/train-00001-of-00002.parquet").write_bytes(b"<html>not found</html>")
    *others, bad = _source(dataset).list()
    assert len(others) == 7
    assert bad.below == "data/train-00001-of-00002/"
    assert bad.fault and "cannot be used" in bad.fault


CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/first.parquet
  - split: test
    path: ["data/second*", "more/**/*.parquet"]
- config_name: other
  data_dir: stuff
  data_files: "*.parquet"
---
# A dataset
"""


def test_the_card_says_which_files_are_which_split(tmp_path: Path) -> None:
    """`configs:` in README.md comes before names; a split it lacks is an error that lists them."""
    for number, name in enumerate(
        ("data/first", "data/second-0", "more/a/b", "more/c", "stuff/x", "stuff/sub/y")
    ):
        _shard(tmp_path / f"{name}.parquet", [number])
    (tmp_path / "README.md").write_text(CARD)

    def listed(**options: str) -> list[str]:
        return [ref.image_id for ref in _source(tmp_path, id_column="key", **options).list()]

    assert listed() == ["0"]
    assert listed(split="test") == ["1", "2", "3"]
    assert listed(config="other") == ["4"]
    with pytest.raises(SourceError, match=r"declares no split 'dev' .* only train, test; set"):
        listed(split="dev")
    (tmp_path / "data/first.parquet").unlink()
    with pytest.raises(SourceError, match=r"data/first\.parquet is declared as split 'train', in"):
        listed()


def test_files_may_be_chosen_by_patterns(dataset: Path) -> None:
    """`files` reaches what neither the card nor the naming conventions do."""
    _shard(dataset / "stuff/part_a.parquet", [1, 2])
    _shard(dataset / "stuff/deep/part_b.parquet", [3])
    chosen = [ref.image_id for ref in _source(dataset, files=["stuff/**/*.parquet"]).list()]
    assert [name.rpartition("/")[0] for name in chosen] == [
        "stuff/deep/part_b", "stuff/part_a", "stuff/part_a",
    ]  # fmt: skip
    with pytest.raises(SourceError, match="no parquet file matches"):
        list(_source(dataset, files=["elsewhere/*"]).list())


def test_files_of_other_splits_are_counted(dataset: Path) -> None:
    """What a dataset has besides the chosen split is counted by kind."""
    _shard(dataset / "data/test-00000-of-00001.parquet", [1])
    (dataset / "notes.md").write_text("words")
    source = _source(dataset)
    assert len(list(source.list())) == 207
    assert source.skipped == {
        "parquet files of other splits or configurations": 1, "text files": 1,
    }  # fmt: skip


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """A local path that does not exist is an error; the hub is not contacted."""
    with pytest.raises(SourceError, match="is not a folder on this machine"):
        _source(tmp_path / "nowhere")


@pytest.mark.parametrize("items", [IMAGE, pa.binary()])
def test_a_row_may_have_a_list_of_images(tmp_path: Path, items: pa.DataType) -> None:
    """Each is an image of its own, with the row's caption; an empty list is one reject."""
    counts = [2, 0, 1, 3]
    numbers = iter(range(9))
    rows = [[_image(next(numbers)) for _ in range(count)] for count in counts]
    named = [[{"bytes": one, "path": None} for one in row] for row in rows]
    column = pa.array(rows if items == pa.binary() else named, pa.list_(items))
    table = pa.table({"images": column, "texts": ["a", "b", "c", "d"]})
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=3)
    source = _source(tmp_path, image_column="images", caption_column="texts")
    refs = list(source.list())
    names = ["0/0", "0/1", "1", "2/0", "3/0", "3/1", "3/2"]
    assert [ref.image_id for ref in refs] == [f"train/0000000{name}" for name in names]
    assert [ref.caption for ref in refs] == list("aabcddd")
    assert refs[2].fault == "the row has no images"
    sound = [ref for ref in refs if not ref.fault]
    assert list(source.read(sound[::-1])) == [_image(n) for n in range(6)][::-1]
    (gone,) = source.read([replace(sound[0], offset=7)])
    assert str(gone) == "no such image in the row"


def _saved(folder: Path, numbers: Sequence[int]) -> None:
    """As `datasets.Dataset.save_to_disk` writes it: two files, and JSON that names them."""
    folder.mkdir(parents=True)
    names = [f"data-0000{n}-of-00002.arrow" for n in range(2)]
    half = len(numbers) // 2
    for name, some in zip(names, (numbers[:half], numbers[half:]), strict=True):
        table = pa.table(
            {
                "image": pa.array([{"bytes": _image(n), "path": None} for n in some], IMAGE),
                "label": pa.array([n % 2 for n in some]),
            }
        )
        features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
        told = json.dumps({"info": {"features": features}})
        with pa.ipc.new_stream(
            folder / name, table.schema.with_metadata({"huggingface": told})
        ) as to:
            to.write_table(table, max_chunksize=2)
    state = {"_data_files": [{"filename": name} for name in names], "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")


def test_a_dataset_of_save_to_disk(tmp_path: Path) -> None:
    """One split, or several with their names; classes and rows are as in parquet."""
    _saved(tmp_path / "one", range(9))
    source = _source(tmp_path / "one")
    refs = list(source.list())
    assert [ref.image_id for ref in refs[3:5]] == [
        "data-00000-of-00002/00000003",
        "data-00001-of-00002/00000000",
    ]
    assert list(source.read(refs)) == [_image(n) for n in range(9)]

    _saved(tmp_path / "two/train", range(4))
    _saved(tmp_path / "two/test", range(4, 8))
    (tmp_path / "two/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    knowledge = Knowledge.model_validate({"columns": {"label": {"from": "metadata.label"}}})
    config = HuggingFaceConfig(type="huggingface", dataset=str(tmp_path / "two"), split="test")
    source = open_source(config, knowledge)
    refs = list(source.list())
    assert [ref.columns for ref in refs[:2]] == ['{"label": "cat"}', '{"label": "dog"}']
    assert list(source.read(refs)) == [_image(n) for n in range(4, 8)]
    with pytest.raises(SourceError, match="saved with the splits train, test, not 'dev'"):
        list(_source(tmp_path / "two", split="dev").list())
    (tmp_path / "two/test/data-00000-of-00002.arrow").write_bytes(b"not arrow")
    first, *others = source.list()
    assert first.fault and first.image_id == "test/data-00000-of-00002/"
    assert len(others) == 2


def test_a_large_row_group_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """A file may be one row group of all its images; a few pages of it are in memory at once."""
    image = bytes(range(256)) * 400
    images = pa.array([image + b"%d" % n for n in range(400)], pa.binary())
    pq.write_table(
        pa.table({"image": images}),
        tmp_path / "train.parquet",
        compression=None,
        use_dictionary=False,
        write_batch_size=8,
    )
    source = _source(tmp_path)
    refs = list(source.list())
    before, most = pa.total_allocated_bytes(), 0
    for data in source.read(refs):
        assert isinstance(data, bytes) and len(data) > len(image)
        most = max(most, pa.total_allocated_bytes() - before)
    assert 0 < most < 400 * len(image) / 2


def test_the_default_configuration_is_the_one_that_the_card_marks(tmp_path: Path) -> None:
    """Whatever its name, as for the hub's own library; the card may begin with a mark."""
    _shard(tmp_path / "p/x.parquet", [1])
    _shard(tmp_path / "q/y.parquet", [2])
    files = "data_files:\n  - split: train\n    path: {}/*.parquet\n"
    configs = f"- config_name: q\n  {files.format('q')}- config_name: p\n  default: true\n"
    (tmp_path / "README.md").write_text(f"\ufeff---\nconfigs:\n{configs}  {files.format('p')}---\n")
    assert [ref.image_id for ref in _source(tmp_path).list()] == ["p/x/00000000"]


def test_a_card_may_give_a_configuration_only_a_folder(tmp_path: Path) -> None:
    """Below `data_dir`, the names of the files tell the split, as in the dataset itself."""
    for number, name in enumerate(
        ("en/train-00000-of-00001", "en/test-00000-of-00001", "train-00000-of-00001")
    ):
        _shard(tmp_path / f"{name}.parquet", [number])
    card = "---\nconfigs:\n- config_name: english\n  data_dir: ./en/\n---\n"
    (tmp_path / "README.md").write_text(card)

    def listed(**options: str) -> list[str]:
        return [ref.image_id for ref in _source(tmp_path, id_column="key", **options).list()]

    assert listed(config="english") == ["0"]
    assert listed(config="english", split="test") == ["1"]
    assert listed() == ["2"]
    with pytest.raises(SourceError, match="/en/ has no parquet files"):
        listed(config="english", split="dev")


@pytest.mark.parametrize("front", ["date: 2024-13-45", "a: " + "[" * 5_000, "configs: [1, null]"])
def test_a_card_that_cannot_be_read_says_nothing(dataset: Path, front: str) -> None:
    """The names of the files are then what counts."""
    (dataset / "README.md").write_text(f"---\n{front}\n---\n")
    assert len(list(_source(dataset).list())) == 207


FILES = {"images/0.jpg": b"zero", "data/images/1.jpg": b"one", "data/caf\u00e9.jpg": b"two"}
NAMED = ["images/0.jpg", "images/1.jpg", "cafe\u0301.jpg", "images/nine.jpg", None,
         "https://example.com/1.jpg", "../outside.jpg", "/etc/hostname"]  # fmt: skip


@pytest.mark.parametrize(
    "column",
    [
        pa.array(NAMED, pa.string()),
        pa.array(NAMED, pa.large_string()),
        pa.array([{"bytes": None, "path": name} for name in NAMED], IMAGE),
    ],
)
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_rows_may_name_the_files_of_their_images(
    tmp_path: Path, column: pa.Array, kind: str
) -> None:
    """A name counts from the row's own file or from the dataset, and never leads out of it."""
    folder = tmp_path / "dataset"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (tmp_path / "outside.jpg").write_bytes(b"outside")
    table = pa.table({"image": column, "key": [*range(len(NAMED))]})
    if kind == "parquet":
        pq.write_table(table, folder / "data/train.parquet", row_group_size=3)
    else:
        with pa.ipc.new_stream(folder / "data/train.arrow", table.schema) as file:
            file.write_table(table)
        state = {"_data_files": [{"filename": "data/train.arrow"}]}
        (folder / "state.json").write_text(json.dumps(state))
    source = _source(folder, id_column="key")
    refs = list(source.list())
    assert [ref.image_id for ref in refs] == [*"01234567"]
    assert [ref.fault and ref.fault[:24] for ref in refs] == [
        None, None, None, "the dataset has no file ", "the row names no image",
        "the row has an address i", "the dataset has no file ", "the dataset has no file ",
    ]  # fmt: skip
    assert list(source.read(refs[:3])) == [b"zero", b"one", b"two"]
    assert source.skipped["images outside parquet files"] == 0

    (folder / "images/0.jpg").write_bytes(b"changed")
    assert next(iter(source.list())).etag != refs[0].etag
    (folder / "images/0.jpg").unlink()
    (gone,) = source.read(refs[:1])
    assert isinstance(gone, FileNotFoundError)


def test_a_row_may_name_several_files(tmp_path: Path) -> None:
    """Each is an image, named by its number in the list."""
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    column = pa.array([["a.png", "b.png"], [], ["c.png"]], pa.list_(pa.string()))
    pq.write_table(pa.table({"image": column, "key": ["x", "y", "z"]}), tmp_path / "train.parquet")
    source = _source(tmp_path, id_column="key")
    refs = list(source.list())
    assert [(ref.image_id, ref.fault) for ref in refs] == [
        ("x/0", None), ("x/1", None), ("y", "the row has no images"), ("z/0", None),
    ]  # fmt: skip
    assert list(source.read([ref for ref in refs if not ref.fault])) == [b"a", b"b", b"c"]


def test_a_clone_without_git_lfs_says_what_to_do(dataset: Path) -> None:
    """Git leaves a pointer in the place of each file."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"
    (dataset / "data/train-00001-of-00002.parquet").write_text(pointer)
    *others, bad = _source(dataset).list()
    assert len(others) == 7
    assert bad.fault and "run `git lfs pull`" in bad.fault


def test_an_image_column_may_be_encoded_by_a_dictionary(tmp_path: Path) -> None:
    """As pandas writes a column of categories."""
    column = pa.array([b"a", b"b", b"a"], pa.binary()).dictionary_encode()
    pq.write_table(pa.table({"image": column}), tmp_path / "train.parquet")
    source = _source(tmp_path)
    assert list(source.read(list(source.list()))) == [b"a", b"b", b"a"]
