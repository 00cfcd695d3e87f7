"""Captions and columns from what lies beside the images."""

import io
import json
import tarfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clip_assets.errors import SourceError
from clip_assets.source import ImageRef, SourceConfig
from clip_assets.source.checked import Checked
from clip_assets.source.config import (
    FolderConfig,
    HuggingFaceConfig,
    Knowledge,
    WebDatasetConfig,
)
from clip_assets.source.open import open_source

KNOWN = {
    "label": {"from": "metadata.label"},
    "price": {"from": "metadata.price", "type": "double"},
    "stock": {"from": "metadata.stock", "type": "integer"},
}


def known(**blocks: Any) -> Knowledge:
    return Knowledge.model_validate(blocks)


def listed(source: Checked) -> dict[str, ImageRef]:
    return {ref.image_id: ref for ref in source.list()}


def columns(source: Checked) -> dict[str, dict[str, Any] | None]:
    return {name: ref.columns and json.loads(ref.columns) for name, ref in listed(source).items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, two of them in a folder of their own."""
    for name in ("a.jpg", "b/c.jpg", "b/d.e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def _csv(path: Path, rows: list[dict[str, Any]]) -> None:
    names = [*rows[0]]
    lines = [",".join(names), *(",".join(str(row.get(n, "")) for n in names) for row in rows)]
    path.with_suffix(".csv").write_text("\n".join(lines))


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, rows)))


def _parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path.with_suffix(".parquet"))


@pytest.mark.parametrize("write", [_csv, _jsonl, _parquet])
def test_metadata_as_imagefolder_has_it(
    folder: Path, write: Callable[[Path, list[dict[str, Any]]], None]
) -> None:
    """A table counts from its own folder, and the nearest one that has a row is taken."""
    write(
        folder / "metadata",
        [{"file_name": "a.jpg", "label": "dog", "price": 1.5, "stock": 3},
         {"file_name": "b/c.jpg", "label": "far", "price": 2.0, "stock": 4}],
    )  # fmt: skip
    write(
        folder / "b/metadata",
        [{"file_name": "c.jpg", "label": "near", "price": 2.5, "stock": 5},
         {"file_name": "./d.e.jpg", "label": "", "price": 0.5, "stock": 6}],
    )  # fmt: skip
    source = open_source(FolderConfig(uri=str(folder)), known(columns=KNOWN))
    assert columns(source) == {
        "a.jpg": {"label": "dog", "price": 1.5, "stock": 3},
        "b/c.jpg": {"label": "near", "price": 2.5, "stock": 5},
        "b/d.e.jpg": {"price": 0.5, "stock": 6},
    }
    assert source.told.faults == []
    assert not source.skipped


def test_several_captions_an_image(folder: Path) -> None:
    """As Flickr8k has them: one caption a row, in the order of the table; one line each."""
    (folder / "captions.csv").write_text(
        'image|caption\na.jpg| "A dog, running"\na.jpg| A brown dog .\nd.e.jpg| Snow .\n'
    )
    source = open_source(
        FolderConfig(uri=str(folder)),
        known(captions={"from": "captions.csv", "image": "image", "text": "caption"}),
    )
    captions = {name: ref.caption for name, ref in listed(source).items()}
    assert captions == {
        "a.jpg": "A dog, running\nA brown dog .", "b/c.jpg": None, "b/d.e.jpg": "Snow .",
    }  # fmt: skip
    (fault,) = source.told.faults
    assert fault == "captions.csv: 2 of 3 images have a row"


def test_labels_by_id_without_extension(folder: Path) -> None:
    """As Kaggle's labels.csv has them."""
    (folder / "labels.csv").write_text("id;breed\nc;beagle\nd.e;husky\nzzz;poodle\n")
    breed = {"breed": {"from": "metadata.breed"}}
    source = open_source(
        FolderConfig(uri=str(folder)), known(columns=breed, metadata={"from": "labels.csv"})
    )
    assert columns(source)["b/c.jpg"] == {"breed": "beagle"}
    assert columns(source)["b/d.e.jpg"] == {"breed": "husky"}
    (join,) = source.told.joins
    assert join.sentence == (
        "labels.csv: 2 of 3 images have a row; 1 of 3 names in it match no image, such as 'zzz'"
    )


COCO = {
    "images": [{"id": 7, "file_name": "a.jpg", "date_captured": "2013-11-14 17:02:52"},
               {"id": 8, "file_name": "c.jpg", "date_captured": "0000"}],
    "annotations": [{"image_id": 7, "caption": "A dog."}, {"image_id": 7, "caption": "Two dogs."},
                    {"image_id": 7, "category_id": 18}, {"image_id": 7, "category_id": 1},
                    {"image_id": 7, "category_id": 18}],
    "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
}  # fmt: skip


def test_coco_annotations(folder: Path) -> None:
    """Captions, categories and the images' own fields; a value that cannot be used is told."""
    (folder / "annotations").mkdir()
    (folder / "annotations/train.json").write_text(json.dumps(COCO))
    declared = {
        "taken_at": {"from": "metadata.date_captured", "type": "timestamp"},
        "things": {"from": "metadata.categories"},
    }
    table = {"from": "annotations/train.json"}
    source = open_source(
        FolderConfig(uri=str(folder)), known(columns=declared, captions=table, metadata=table)
    )
    found = listed(source)
    assert found["a.jpg"].caption == "A dog.\nTwo dogs."
    assert json.loads(found["a.jpg"].columns or "") == {
        "taken_at": "2013-11-14T17:02:52", "things": "dog, person",
    }  # fmt: skip
    assert found["b/c.jpg"].columns is None
    (misfit,) = source.told.misfits
    assert misfit.sentence == (
        "column taken_at: 1 values cannot be used, such as '0000' is not a timestamp"
    )


def test_json_beside_each_image(folder: Path) -> None:
    """As img2dataset writes files: 000.jpg with 000.json."""
    (folder / "b/c.json").write_text(json.dumps({"label": "dog", "price": "1e3", "url": "x"}))
    source = open_source(FolderConfig(uri=str(folder)), known(columns=KNOWN))
    assert columns(source) == {
        "a.jpg": None, "b/c.jpg": {"label": "dog", "price": 1000.0}, "b/d.e.jpg": None,
    }  # fmt: skip
    assert source.told.faults == ["metadata: 1 of 3 images have a row"]


def test_json_in_tars_and_what_is_kept_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sample's .json gives the columns, at the first look and from the index of the tar; a
    column that is declared later is looked for again."""
    monkeypatch.setenv("CLIP_ASSETS_HOME", str(tmp_path / "home"))
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in/00000.tar", "w") as tar:
        for name, data in (("0.jpg", b"x"), ("0.json", b'{"label": "dog", "stock": 2}'),
                           ("1.jpg", b"x"), ("1.json", b"[]")):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    config = WebDatasetConfig(type="webdataset", uri=str(tmp_path / "in"))
    for _ in range(2):
        source = open_source(config, known(columns={"label": KNOWN["label"]}))
        assert columns(source) == {"00000/0": {"label": "dog"}, "00000/1": None}
    source = open_source(config, known(columns=KNOWN))
    assert columns(source) == {"00000/0": {"label": "dog", "stock": 2}, "00000/1": None}


def test_a_file_of_each_sample_may_have_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WebDataset has the class in a `.cls`; the sample's .json comes first."""
    monkeypatch.setenv("CLIP_ASSETS_HOME", str(tmp_path / "home"))
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in/00000.tar", "w") as tar:
        for name, data in (("0.jpg", b"x"), ("0.cls", b"3\n"), ("1.cls", b"7"), ("1.jpg", b"x"),
                           ("1.json", b'{"cls": 8}'), ("2.jpg", b"x"), ("3.a.jpg", b"x"),
                           ("3.b.jpg", b"x"), ("3.a.cls", b"1"), ("3.cls", b"0")):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    config = WebDatasetConfig(type="webdataset", uri=str(tmp_path / "in"))
    wanted = known(columns={"label": {"from": "metadata.cls", "type": "integer"}})
    for _ in range(2):  # also from the index of the tar
        source = open_source(config, wanted)
        assert columns(source) == {
            "00000/0": {"label": 3}, "00000/1": {"label": 8}, "00000/2": None,
            "00000/3.a.jpg": {"label": 1}, "00000/3.b.jpg": {"label": 0},
        }  # fmt: skip
        assert not source.skipped
    assert open_source(config).skipped == {} and len([*open_source(config).list()]) == 5


def test_columns_of_a_hub_dataset(tmp_path: Path) -> None:
    """Any column of the dataset; a class is known by its name, not by its number."""
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = pa.table({"image": pa.array([b"x"] * 3, pa.binary()), "label": [1, 0, None],
                      "price": [1.0, None, 2.0], "stock": [1, 2, 3]})  # fmt: skip
    metadata = {"huggingface": json.dumps(features)}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "train.parquet")
    config = HuggingFaceConfig(type="huggingface", dataset=str(tmp_path))
    assert [*columns(open_source(config, known(columns=KNOWN))).values()] == [
        {"label": "dog", "price": 1.0, "stock": 1}, {"label": "cat", "stock": 2},
        {"price": 2.0, "stock": 3},
    ]  # fmt: skip


def test_names_in_either_form_of_unicode_meet(tmp_path: Path) -> None:
    """A Mac writes é as two characters, a table or the tool that made a .json as one."""
    (tmp_path / unicodedata.normalize("NFD", "café.jpg")).write_bytes(b"x")
    beside = tmp_path / unicodedata.normalize("NFC", "café.json")
    beside.write_text('{"label": "cat"}')
    declared = {"label": KNOWN["label"]}
    source = open_source(FolderConfig(uri=str(tmp_path)), known(columns=declared))
    assert [*columns(source).values()] == [{"label": "cat"}]
    table = unicodedata.normalize("NFC", "file_name,label\ncafé.jpg,dog\n")
    (tmp_path / "metadata.csv").write_text(table)
    assert [*columns(source).values()] == [{"label": "dog"}]


def test_tables_that_nothing_declares_are_counted(folder: Path) -> None:
    (folder / "captions.csv").write_text("image,caption\na.jpg,dog\n")
    source = open_source(FolderConfig(uri=str(folder)))
    assert listed(source)["a.jpg"].caption is None
    assert source.skipped == {"tables (declare `columns` or `captions` to use them)": 1}


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ({"captions": {"from": "gone.csv"}}, "gone.csv cannot be read"),
        ({"captions": {"from": "t.csv", "image": "img"}}, "no field 'img'; it has name, words"),
        ({"captions": {"from": "t.csv", "image": "name"}}, "no field with the captions"),
        ({"captions": {"from": "broken.jsonl"}}, "cannot be read as a table"),
        ({"columns": {"label": {"from": "metadata.label"}},
          "metadata": {"from": "t.csv", "image": "name"}}, "no field 'label'"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_an_error(
    folder: Path, blocks: dict[str, Any], said: str
) -> None:
    """Nothing is listed, so that no caption or value is lost: the error says what to correct."""
    (folder / "t.csv").write_text("name,words\na.jpg,dog\n")
    (folder / "broken.jsonl").write_text('{"image": "a.jpg"\n')
    config: SourceConfig = FolderConfig(uri=str(folder))
    with pytest.raises(SourceError, match=said):
        listed(open_source(config, known(**blocks)))


TABLES = {
    "UTF-16 of Excel": "file_name\tlabel\na.jpg\tcafé\nb/c.jpg\tdog\n".encode("utf-16"),
    "Windows-1252": "file_name,label\na.jpg,café\nb/c.jpg,dog\n".encode("cp1252"),
    "a mark and CRLF": "\ufefffile_name,label\r\na.jpg,café\r\nb/c.jpg,dog\r\n".encode(),
    "CR alone": "file_name,label\ra.jpg,café\rb/c.jpg,dog\r".encode(),
    "semicolons": "file_name;label\na.jpg;café\nb/c.jpg;dog\n".encode(),
    "quotes": '"file_name","label"\n"a.jpg","café"\n"b/c.jpg","dog"\n'.encode(),
    "empty lines": "\n\nfile_name,label\n\na.jpg,café\nb/c.jpg,dog\n".encode(),
    "capitals": "File Name,label\na.jpg,café\nb/c.jpg,dog\n".encode(),
    "backslashes": "file_name,label\n.\\a.jpg,café\nb\\c.jpg,dog\n".encode(),
    "the writer's folder": "file_name,label\n/data/x/a.jpg,café\n/data/x/b/c.jpg,dog\n".encode(),
    "addresses": "file_name,label\nhttp://x/y/a.jpg,café\nhttp://x/y/b/c.jpg,dog\n".encode(),
}


@pytest.mark.parametrize("told", TABLES)
def test_a_csv_is_read_however_it_was_written(folder: Path, told: str) -> None:
    """Encodings, ends of lines, delimiters, and names as on the machine of the table's writer."""
    (folder / "metadata.csv").write_bytes(TABLES[told])
    source = open_source(FolderConfig(uri=str(folder)), known(columns={"label": KNOWN["label"]}))
    assert columns(source)["a.jpg"] == {"label": "café"}
    assert columns(source)["b/c.jpg"] == {"label": "dog"}


JSONS = {
    "x.jsonl": '\ufeff{"file_name": "a.jpg", "caption": "one\u2028line"}\r\n\r\n',
    "array.jsonl": '[{"file_name": "a.jpg", "caption": "one line"}]',
    "names.json": '{"a.jpg": "one line"}',
    "lists.json": '{"a.jpg": ["one line"], "b/c.jpg": []}',
    "numbered.csv": "image,caption\na.jpg#0,one line\n",
}


@pytest.mark.parametrize("name", JSONS)
def test_captions_are_read_however_they_were_written(folder: Path, name: str) -> None:
    """JSON lines with odd characters, JSON by name, and Flickr's numbers behind names."""
    (folder / name).write_text(JSONS[name])
    source = open_source(FolderConfig(uri=str(folder)), known(captions={"from": name}))
    assert listed(source)["a.jpg"].caption == "one line"
    assert listed(source)["b/c.jpg"].caption is None


def test_a_table_that_cannot_be_read_says_why(folder: Path) -> None:
    """No traceback and no table without rows: what it is, and what to do."""
    (folder / "x.json").write_text('{"images": [{"id": 1}], "annotations": [7]}')
    (folder / "x.xlsx").write_bytes(b"PK\3\4" + bytes(100))
    for name, why in (("x.json", "not every row is an object"), ("x.xlsx", "save it as CSV")):
        source = open_source(FolderConfig(uri=str(folder)), known(captions={"from": name}))
        with pytest.raises(SourceError, match=why):
            list(source.list())


def test_a_long_text_does_not_cost_its_table(folder: Path) -> None:
    """Python's reader of CSV refuses a table for one field over 128 KiB, unless told not to."""
    (folder / "c.csv").write_text(f"image,caption\na.jpg,{'x' * 200_000}\nb/c.jpg,short\n")
    source = open_source(FolderConfig(uri=str(folder)), known(captions={"from": "c.csv"}))
    assert listed(source)["b/c.jpg"].caption == "short"


def test_captions_that_are_nowhere_are_no_match(folder: Path) -> None:
    """COCO's images without captions, as of another task: the check says so."""
    document = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}
    (folder / "x.json").write_text(json.dumps(document))
    source = open_source(FolderConfig(uri=str(folder)), known(captions={"from": "x.json"}))
    list(source.list())
    assert source.told.faults == ["x.json: 0 of 3 images have a row"]


def test_two_tables_of_a_folder_are_both_used(folder: Path) -> None:
    """And a table further down need not have every field."""
    (folder / "metadata.csv").write_text("file_name,label\na.jpg,cat\n")
    (folder / "metadata.jsonl").write_text('{"file_name": "b/c.jpg", "label": "dog"}\n')
    (folder / "b/metadata.csv").write_text("file_name,other\nd.e.jpg,x\n")
    source = open_source(FolderConfig(uri=str(folder)), known(columns={"label": KNOWN["label"]}))
    assert columns(source) == {
        "a.jpg": {"label": "cat"}, "b/c.jpg": {"label": "dog"}, "b/d.e.jpg": None,
    }  # fmt: skip


def test_an_object_as_a_text_is_json(folder: Path) -> None:
    """Not Python's way of writing it, which nothing else reads."""
    (folder / "metadata.jsonl").write_text('{"file_name": "a.jpg", "label": {"name": "é"}}\n')
    source = open_source(FolderConfig(uri=str(folder)), known(columns={"label": KNOWN["label"]}))
    assert columns(source)["a.jpg"] == {"label": '{"name": "é"}'}


def test_texts_beside_images_are_read_as_systems_write_them(folder: Path) -> None:
    """In UTF-16 or Windows-1252, and with an extension in capitals."""
    (folder / "a.txt").write_bytes("café".encode("utf-16"))
    (folder / "b/c.TXT").write_bytes("café".encode("cp1252"))
    found = listed(open_source(FolderConfig(uri=str(folder))))
    assert found["a.jpg"].caption == found["b/c.jpg"].caption == "café"


def test_a_metadata_table_may_be_the_table_of_captions(folder: Path) -> None:
    """`metadata.csv` is the table, not the field `csv` of the metadata."""
    (folder / "metadata.csv").write_text("file_name,caption\na.jpg,one\na.jpg,two\n")
    source = open_source(FolderConfig(uri=str(folder)), known(captions={"from": "metadata.csv"}))
    assert listed(source)["a.jpg"].caption == "one\ntwo"


def test_names_and_captions_as_pandas_writes_them(folder: Path) -> None:
    """Numbers as fractions, names as bytes, and NaN where there is none."""
    (folder / "7.jpg").write_bytes(b"x")
    rows = {"number.parquet": [7.0, None], "bytes.parquet": [b"7.jpg", b"a.jpg"]}
    for name, images in rows.items():
        table = pa.table({"image": images, "caption": ["seven", None], "x": [1.0, float("nan")]})
        pq.write_table(table, folder / name)
        source = open_source(FolderConfig(uri=str(folder)), known(captions={"from": name}))
        found = listed(source)
        assert (found["7.jpg"].caption, found["a.jpg"].caption) == ("seven", None)
    (folder / "x.jsonl").write_text('{"image": "a.jpg", "caption": NaN}\n')
    source = open_source(FolderConfig(uri=str(folder)), known(captions={"from": "x.jsonl"}))
    assert listed(source)["a.jpg"].caption is None


UNUSUAL = {
    "unknown zone": (pa.array([0], pa.timestamp("us", "Mars/Base")), "1970-01-01 00:00:00+00:00"),
    "beyond year 9999": (pa.array([2**31 - 1], pa.date32()), "<value out of range: 2147483647>"),
    "not UTF-8": (
        pa.Array.from_buffers(
            pa.string(), 1, [None, *map(pa.py_buffer, (bytes([0, 0, 0, 0, 1, 0, 0, 0]), b"\xe9"))]
        ),
        "\ufffd",
    ),
    "dictionary": (pa.array(["dog"]).dictionary_encode(), "dog"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNUSUAL)
@pytest.mark.parametrize("source", ["folder", "huggingface"])
def test_a_value_that_python_cannot_hold_costs_no_row(
    tmp_path: Path, kind: str, source: str
) -> None:
    """Neither of its own column nor of another that is wanted."""
    values, text = UNUSUAL[kind]
    table = pa.table({"file_name": ["a.jpg"], "label": values, "stock": [2]})
    config: FolderConfig | HuggingFaceConfig = FolderConfig(uri=str(tmp_path))
    if source == "folder":
        (tmp_path / "a.jpg").write_bytes(b"x")
        pq.write_table(table, tmp_path / "metadata.parquet")
    else:
        table = table.append_column("image", pa.array([b"x"], pa.binary()))
        pq.write_table(table, tmp_path / "train.parquet")
        config = HuggingFaceConfig(type="huggingface", dataset=str(tmp_path))
    wanted = {"label": {"from": "metadata.label"}, "stock": KNOWN["stock"]}
    found = columns(open_source(config, known(columns=wanted)))
    assert [*found.values()] == [{"label": text, "stock": 2}]


def test_a_line_that_is_no_json_is_named(folder: Path) -> None:
    """The line of the table, not of the text within it."""
    (folder / "metadata.jsonl").write_text('{"file_name": "a.jpg", "label": "x"}\n{"file_name": \n')
    with pytest.raises(SourceError, match=r"cannot be read as a table \(line 2: Expecting value"):
        list(open_source(FolderConfig(uri=str(folder)), known(columns=KNOWN)).list())
