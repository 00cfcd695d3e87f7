import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clip_assets.errors import SourceError
from clip_assets.source import Source
from clip_assets.source.config import FolderConfig, HuggingFaceConfig, WebDatasetConfig
from clip_assets.source.inspect_dataset import inspect_dataset
from clip_assets.source.open import open_source

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _write(path: Path, image: str = "image", **columns: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = pa.array([{"bytes": b"x", "path": None}] * 2, IMAGE)
    pq.write_table(pa.table({image: images, **columns}), path)


def _opened(source: dict[str, Any]) -> Source:
    kinds = {"folder": FolderConfig, "webdataset": WebDatasetConfig}
    kind = kinds.get(source["type"], HuggingFaceConfig)
    return open_source(kind.model_validate(source))


def test_configuration_split_and_columns_are_found(tmp_path: Path) -> None:
    """Those of the card, if they are not the usual ones; what is written can be listed."""
    _write(tmp_path / "small/photos.parquet", "img", label=[0, 1], text=["a", "b"])
    _write(tmp_path / "large/x.parquet", "img", text=["c", "d"])
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n"
        "- {config_name: large, data_files: large/*.parquet}\n"
        "- {config_name: small, default: true, data_files: [{split: all, path: small/*}]}\n---\n"
    )
    found = inspect_dataset(str(tmp_path))
    assert found.source == {
        "type": "huggingface",
        "dataset": str(tmp_path),
        "config": "small",
        "split": "all",
        "image_column": "img",
        "caption_column": "text",
    }
    assert found.lines[:5] == [
        "configuration: small (of small, large)",
        "split: all (of all)",
        "images: img",
        "captions: text",
        "other columns: label (int64)",
    ]
    assert [ref.caption for ref in _opened(found.source).list()] == ["a", "b"]


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("data/train-00000-of-00001.parquet", {}),
        ("train.parquet", {}),
        ("photos.parquet", {}),
        ("data/test-00000-of-00001.parquet", {"split": "test"}),
        ("plants/validation-00000-of-00001.parquet", {"config": "plants", "split": "validation"}),
    ],
)
def test_usual_layouts_need_no_card(tmp_path: Path, path: str, given: dict[str, str]) -> None:
    """What the names of the files tell, without what is the default."""
    _write(tmp_path / path)
    found = inspect_dataset(str(tmp_path)).source
    assert found == {"type": "huggingface", "dataset": str(tmp_path), **given}
    assert len([*_opened(found).list()]) == 2


def test_a_saved_dataset(tmp_path: Path) -> None:
    """Its splits are in its JSON."""
    folder = tmp_path / "test"
    folder.mkdir()
    table = pa.table({"image": pa.array([b"x"], pa.binary())})
    with pa.ipc.new_stream(folder / "data.arrow", table.schema) as file:
        file.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["test"]}))
    found = inspect_dataset(str(tmp_path)).source
    assert found == {"type": "huggingface", "dataset": str(tmp_path), "split": "test"}
    assert len([*_opened(found).list()]) == 1


def test_tars_and_image_files(tmp_path: Path, jpeg: Any, write_tar: Any) -> None:
    """WebDataset and ImageFolder are read as what they are; of splits, train is taken."""
    write_tar(tmp_path / "w/0.tar", {"1.jpg": jpeg("red")})
    found = inspect_dataset(str(tmp_path / "w"))
    assert found.source == {"type": "webdataset", "uri": str(tmp_path / "w")}
    assert len([*_opened(found.source).list()]) == 1
    for name in ("train/cat/a.jpg", "train/dog/b.jpg", "test/dog/c.jpg"):
        (tmp_path / "i" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "i" / name).write_bytes(jpeg("red"))
    found = inspect_dataset(str(tmp_path / "i"))
    assert found.source == {"type": "folder", "uri": f"{tmp_path}/i/train"}
    assert found.lines == ["2 image files, no parquet", "folder: train (of test, train)"]
    assert len([*_opened(found.source).list()]) == 2


def test_a_column_that_names_files_has_the_images(tmp_path: Path, jpeg: Any) -> None:
    """The column whose names lead to images of the dataset, where none has bytes."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(jpeg("red"))
    table = pa.table({"title": ["a.jpg"], "photo_path": ["images/a.jpg"]})
    pq.write_table(table, tmp_path / "train.parquet")
    found = inspect_dataset(str(tmp_path))
    assert found.source["image_column"] == "photo_path"
    assert [ref.fault for ref in _opened(found.source).list()] == [None]


def test_a_dataset_without_images(tmp_path: Path) -> None:
    """Addresses are no images, and an empty dataset has none."""
    (tmp_path / "README.md").write_text("# nothing")
    with pytest.raises(SourceError, match="has no images that can be read"):
        inspect_dataset(str(tmp_path))
    file = io.BytesIO()
    pq.write_table(pa.table({"url": ["https://x.invalid/1.jpg"]}), file)
    (tmp_path / "train.parquet").write_bytes(file.getvalue())
    with pytest.raises(SourceError, match=r"No column .* it has url\. .* img2dataset"):
        inspect_dataset(str(tmp_path))
