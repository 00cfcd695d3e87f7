"""DuckDB over the parquet: committed rows only, the model's own vectors, exact answers."""

import re
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from clip_assets.cli.app import app
from clip_assets.errors import SettingsError, StoreError
from clip_assets.lake.lake import Lake, open_lake
from clip_assets.model import ModelSpec
from clip_assets.node import encoder as encoders
from clip_assets.node import reload
from clip_assets.node.encoder import Encoder
from clip_assets.processors import available
from clip_assets.settings import Settings
from clip_assets.store.objects import Objects
from tests.conftest import picture
from tests.integration.pictures import embed_pictures
from tests.integration.support import Made, Model, exact, matrix

README = Path(__file__).parents[3] / "README.md"


@pytest.fixture(scope="module")
def embedded(
    tmp_path_factory: pytest.TempPathFactory, write_pictures: object, tiny_spec: ModelSpec
) -> Path:
    """Data folder with 24 pictures in two shards, and one file that is no picture."""
    folder = tmp_path_factory.mktemp("lake")
    pictures = write_pictures(folder / "pictures", 24)  # type: ignore[operator]
    (pictures / "99999.png").write_bytes(b"not a picture")
    embed_pictures(folder / "data/photos", pictures, tiny_spec, shard_size=13)
    return folder / "data"


@pytest.fixture
def data(embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own copy of the folder, which the settings name."""
    shutil.copytree(embedded, tmp_path / "data")
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture(scope="module")
def tiny(tiny_spec: ModelSpec) -> Encoder:
    return encoders.load(tiny_spec)


def _sql(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner(mix_stderr=False).invoke(app, ["sql", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_rows_carry_their_lineage(data: Path) -> None:
    """Every committed row is there, with its shard, version, run, job, device and model."""
    with open_lake(Settings()) as database:
        rows = database.sql(
            "SELECT image_id, caption, shard, version, run_id, job_id, device, model "
            "FROM embeddings ORDER BY image_id"
        ).fetchall()
    assert len(rows) == 24
    assert rows[0][:5] == ("00000.png", "picture number 0", "00000", 1, "run-1")
    assert rows[-1][2] == "00001"
    assert re.fullmatch(r"tiny/untrained@[0-9a-f]{12}", rows[0][7])


def test_only_commits_are_read(data: Path) -> None:
    """A part that no commit names is ignored."""
    (part, *_) = sorted(data.glob("photos/embeddings/*/00000/*/part-*.parquet"))
    shutil.copy(part, part.with_name("part-99999.parquet"))
    other_version = part.parent.with_name("v00002-abcdef012345")
    shutil.copytree(part.parent, other_version)
    (other_version / "commit.json").unlink()
    with open_lake(Settings()) as database:
        assert database.execute("SELECT count(*) FROM embeddings").fetchone() == (24,)


def test_rejects(data: Path) -> None:
    """Rejected images are listed with the reason."""
    with open_lake(Settings()) as database:
        ((name, reason),) = database.sql("SELECT image_id, reason FROM rejects").fetchall()
    assert name == "99999.png"
    assert reason


def test_the_models_own_vectors(data: Path, tiny: Encoder, tmp_path: Path) -> None:
    """clip_text and clip_image give what the encoder gives, to the bit."""
    (tmp_path / "one.png").write_bytes(picture(3))
    with open_lake(Settings()) as database:
        text, image = database.execute(
            "SELECT clip_text('a photo of a cloud'), clip_image(?)", [str(tmp_path / "one.png")]
        ).fetchone() or ((), ())
        stored = database.execute(
            "SELECT array_cosine_similarity(embedding, clip_image(?)) FROM embeddings "
            "WHERE image_id = '00003.png'",
            [str(tmp_path / "one.png")],
        ).fetchone()
    assert np.array_equal(np.float32(text), tiny.encode_text(["a photo of a cloud"])[0])
    with Image.open(tmp_path / "one.png") as opened:
        assert np.array_equal(np.float32(image), tiny.encode_images([opened.convert("RGB")])[0])
    assert stored
    assert stored[0] == pytest.approx(1, abs=1e-5)


def test_search_is_exact(tmp_path: Path) -> None:
    """The order by similarity is that of numpy's brute force over all vectors."""
    made = Made(Objects(str(tmp_path / "photos")))
    for number in range(3):
        made.add(f"{number:05d}", 200)
    table = made.rows()
    query = matrix(table)[17]
    with Lake(made.objects).connect() as database:
        found = database.execute(
            "SELECT image_id FROM embeddings "
            "ORDER BY array_cosine_similarity(embedding, ?::FLOAT[32]) DESC LIMIT 20",
            [query.tolist()],
        ).fetchall()
    assert [name for (name,) in found] == exact(table, query, 20)


def test_the_search_macro(tmp_path: Path) -> None:
    """search(vector, k) is that order, with the score beside every column; k defaults to ten."""
    made = Made(Objects(str(tmp_path / "photos")))
    made.add("00000", 100)
    table = made.rows()
    query = matrix(table)[17]
    with Lake(made.objects).connect() as database:
        found = database.execute(
            "SELECT image_id, score, shard FROM search(?, 20)", [query.tolist()]
        ).fetchall()
        few = database.execute("SELECT count(*) FROM search(?)", [query.tolist()]).fetchone()
    assert [name for name, _, _ in found] == exact(table, query, 20)
    assert found[0][1:] == (pytest.approx(1, abs=1e-5), "00000")
    assert few == (10,)


def test_search_uses_all_available_processors(tmp_path: Path) -> None:
    """DuckDB runs as many threads as there are processors to use, not more."""
    made = Made(Objects(str(tmp_path / "photos")))
    made.add("00000", 5)
    with Lake(made.objects).connect() as database:
        threads = database.execute("SELECT current_setting('threads')").fetchone()
    assert threads == (available(),)


def test_attach_without_the_extension(
    data: Path, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where DuckDB's extension for Postgres was never installed, the sentence says how to, and
    nothing is downloaded unasked."""
    monkeypatch.setenv("HOME", str(tmp_path))  # where DuckDB keeps its extensions
    status, out, error = _sql("--postgres", "SELECT 1")
    assert (status, out) == (1, "")
    assert "extension is not installed on this machine" in error
    assert "INSTALL postgres" in error


def test_a_newer_version_replaces_the_older(tmp_path: Path) -> None:
    """Of a shard that was embedded again only the newest commit is read."""
    made = Made(Objects(str(tmp_path / "photos")))
    made.add("00000", 30)
    made.add("00000", 20, version=2)
    with Lake(made.objects).connect() as database:
        found = database.sql("SELECT version, count(*) FROM embeddings GROUP BY 1").fetchall()
    assert found == [(2, 20)]


def test_a_folder_with_odd_names(tmp_path: Path) -> None:
    """Brackets, stars and quotes in the data folder are names, not patterns."""
    made = Made(Objects(str(tmp_path / "it's [a] b*" / "photos")))
    made.add("00000", 5)
    with Lake(made.objects).connect() as database:
        assert database.execute("SELECT count(*) FROM embeddings").fetchone() == (5,)
        assert database.execute("SELECT count(*) FROM rejects").fetchone() == (0,)


def test_two_models_under_one_name(tmp_path: Path) -> None:
    """Commits of different weights are not compared with each other."""
    made = Made(Objects(str(tmp_path / "photos")))
    made.add("00000", 5)
    Made(made.objects, Model(weights="e" * 64)).add("00001", 5)
    with pytest.raises(StoreError, match=r"shard 00001 differs from that of 00000 .*weights"):
        Lake(made.objects)


def test_several_models(tmp_path: Path) -> None:
    """With two models the one to read must be named."""
    made = Made(Objects(str(tmp_path / "photos")))
    made.add("00000", 5)
    Made(made.objects, Model("second", dim=48)).add("00000", 5)
    with pytest.raises(SettingsError, match=r"2 models \(made-up.*Name one with --model"):
        Lake(made.objects)
    assert Lake(made.objects, Model("second").spec.slug).dim == 48


def test_no_embeddings(tmp_path: Path) -> None:
    """A collection without any, or a model that is not there, is one sentence."""
    with pytest.raises(SettingsError, match="Materialize `embeddings` first"):
        Lake(Objects(str(tmp_path / "nothing")))
    with pytest.raises(StoreError, match="has no embeddings by other"):
        Lake(Objects(str(tmp_path / "nothing")), "other")


@pytest.mark.promise("Queries always use the model that made the index")
def test_other_weights_are_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that loads with other weights than the embeddings' makes no query vectors."""
    other = encoders.load(ModelSpec(name=_tiny_name(data), untrained_seed=1))
    monkeypatch.setattr(reload, "load", lambda spec: other)
    differs = pytest.raises(duckdb.Error, match=r"The loaded model differs .* in its weights")
    with open_lake(Settings()) as database, differs:
        database.sql("SELECT clip_text('x')").fetchall()


def test_after_an_update_that_decodes_otherwise_texts_are_searched_for(
    data: Path, tiny: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images are refused, because what this version makes of one is another vector."""
    newer = tiny.identity.model_copy(update={"decode": 99, "preprocess": "c" * 64})
    monkeypatch.setattr(tiny, "identity", newer)
    monkeypatch.setattr(reload, "load", lambda spec: tiny)
    (tmp_path / "one.png").write_bytes(picture(3))
    with open_lake(Settings()) as database:
        assert database.sql("SELECT image_id FROM search(clip_text('x'), 3)").fetchall()
        with pytest.raises(duckdb.Error, match=r"differs .* in its decode version \(99 instead"):
            database.execute("SELECT clip_image(?)", [str(tmp_path / "one.png")]).fetchall()


def _tiny_name(data: Path) -> str:
    job = next(data.glob("photos/jobs/*/job.json")).read_text()
    return str(re.findall(r'"name": ?"(.*?)"', job)[0])


def test_command_line(data: Path) -> None:
    """`clip-assets sql` prints the answer as a table."""
    status, out, _ = _sql("SELECT shard, count(*) AS images FROM embeddings GROUP BY 1 ORDER BY 1")
    assert status == 0
    assert re.search(r"00000\W+13\W+00001\W+11", out)


def test_the_readme(data: Path) -> None:
    """The README's own statement runs and gives five images."""
    (statement,) = re.findall(r'clip-assets sql "(SELECT.*?)"\n', README.read_text(), re.DOTALL)
    status, out, error = _sql(statement.replace("\\\n", ""))
    assert (status, error) == (0, "")
    assert len(re.findall(r"\d{5}\.png", out)) == 5


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT nothing FROM embeddings", '"nothing" not found'),
        ("SELECT * FROM nowhere", "Table with name nowhere does not exist"),
        ("SELECT caption::INT FROM embeddings", "Could not convert string"),
        ("SELECT clip_image('/no/such file.png')", "cannot be used as a query"),
    ],
)
def test_wrong_sql(data: Path, statement: str, said: str) -> None:
    """What DuckDB refuses, at once or while it runs, is an error in its words and status 1."""
    status, out, error = _sql(statement)
    assert (status, out) == (1, "")
    assert error.startswith("error: ")
    assert said in error
    assert "Traceback" not in error


def test_which_collection(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None or several collections under the data folder: the sentence says what to do."""
    shutil.copytree(data / "photos/catalog", data / "zoo/catalog")
    status, _, error = _sql("SELECT 1")
    assert (status, "photos, zoo" in error, "--collection" in error) == (1, True, True)
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(data / "elsewhere"))
    status, _, error = _sql("SELECT 1")
    assert (status, "Try `clip-assets demo`" in error) == (1, True)
