"""The command line: help with examples, errors in one sentence, plain tables."""

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox
from psycopg.types.json import Jsonb
from typer.main import get_command
from typer.testing import CliRunner, Result

from clip_assets import catalog
from clip_assets.cli.app import app
from clip_assets.cli.console import out
from clip_assets.cli.new import write_project
from clip_assets.component import scaffold
from clip_assets.index import build, load, tables
from clip_assets.index.spec import IndexSpec
from clip_assets.index.vector_type import VectorType
from clip_assets.judge import judge
from clip_assets.judge.judgement import Wanted
from clip_assets.model import ModelSpec
from clip_assets.postgres.connect import connect, connect_owner, database_dsn
from clip_assets.postgres.migrate import migrations, newest
from clip_assets.project import VARIABLE, Project
from clip_assets.release import release
from clip_assets.search import search
from clip_assets.settings import Settings
from clip_assets.source.inspect_dataset import Inspection
from clip_assets.store import paths
from clip_assets.store.objects import Objects
from tests.conftest import picture
from tests.integration.pictures import embed_pictures
from tests.integration.support import COLLECTION, Made, publish, table_of
from tests.integration.support import clustered as clustered_vectors

COMMANDS = [
    "demo",
    "new",
    "init",
    "status",
    "backfill",
    "search",
    "sql",
    "index",
    "snapshot",
    "sweep",
    "serve",
    "keys",
    "judgements",
    "migrate",
    "rollback",
    "erase",
    "duplicates",
    "drop",
    "verify",
    "sky",
]
README = Path(__file__).parents[3] / "README.md"


def run(*arguments: str) -> Result:
    out.width = 200  # read once from the terminal, which the processes of pytest-xdist lack
    return CliRunner(mix_stderr=False).invoke(
        app, arguments, terminal_width=200, env={"COLUMNS": "200"}
    )


def _commands() -> dict[str, Any]:
    found: dict[str, Any] = vars(get_command(app))["commands"]
    return found


def failed(*arguments: str) -> str:
    """The one line on stderr with which the command ended."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr.strip()


@pytest.fixture(scope="module")
def embedded(
    tmp_path_factory: pytest.TempPathFactory,
    write_pictures: Callable[..., Path],
    tiny_spec: ModelSpec,
) -> Path:
    """Data folder with fifteen pictures in two shards."""
    folder = tmp_path_factory.mktemp("cli")
    pictures = write_pictures(folder / "pictures", 15)
    embed_pictures(folder / "data" / COLLECTION, pictures, tiny_spec, shard_size=10)
    return folder


@pytest.fixture
def data(embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(embedded / "data", tmp_path / "data")
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def live(data: Path, database: str, tiny_spec: ModelSpec) -> search.Release:
    """The pictures, released by a real model."""
    with psycopg.connect(database, autocommit=True) as connection:
        return _released(connection, data, tiny_spec)


def _released(connection: psycopg.Connection, data: Path, tiny_spec: ModelSpec) -> search.Release:
    objects = Objects(str(data / COLLECTION))
    head = catalog.read(objects)
    assert head
    current = [shard.at for shard in head.shards]
    index = load.reconcile(connection, objects, IndexSpec(COLLECTION, tiny_spec), current).index
    build.build(connection, index, 15)
    judge.judge(connection, objects, index, Wanted(recall=0.95))
    index = tables.find(connection, COLLECTION, tiny_spec.slug)
    return release.publish(connection, index, "run-release")[0]


def test_every_command_is_known() -> None:
    """The commands listed here are the program's."""
    assert sorted(_commands()) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_example(command: str) -> None:
    """Each command's help says what it does and shows a line to type, with options it has."""
    result = run(command, "--help")
    assert result.exit_code == 0
    example = rf"^\s+clip-assets {command}\b(.*)$"
    examples = re.findall(example, result.stdout, re.MULTILINE)
    assert examples
    options = set(re.findall(r"--[a-z-]+", " ".join(examples)))
    known = {name for p in _commands()[command].params for name in p.opts + p.secondary_opts}
    assert options <= known


def test_no_arguments() -> None:
    """Called without a command, it lists all commands."""
    result = CliRunner(mix_stderr=False).invoke(app, [])
    assert all(command in result.output for command in COMMANDS)


def test_search_before_any_release(database: str) -> None:
    """If nothing is live, the error says what to run."""
    assert "Nothing is released yet. Materialize `release`" in failed("search", "a cloud")


def test_search_without_a_query(database: str) -> None:
    """A query needs either a text or an image, not both."""
    assert "Give either a text or an image file" in failed("search")
    assert "Give either a text or an image file" in failed("search", "a cloud", "--image", "x.png")


def test_search_by_text(live: search.Release) -> None:
    """It prints a table with score, caption and lineage; an untrained model is marked as such."""
    result = run("search", "a photo of a cloud", "--k", "3")
    assert result.exit_code == 0, result.output
    assert "untrained model: results are meaningless" in result.stdout
    assert len(re.findall(r"\d\.\d{3} .*\d{5}\.png.*picture number", result.stdout)) == 3
    assert f"release {live.id} by {live.identity.short}" in result.stdout


def test_search_by_image(live: search.Release, embedded: Path) -> None:
    """An image of the collection finds itself."""
    result = run("search", "--image", str(embedded / "pictures/00004.png"), "--k", "1")
    assert re.search(r"1\.000 .*00004\.png.*picture number 4.*00000", result.stdout)


def test_search_by_what_is_no_image(live: search.Release, tmp_path: Path) -> None:
    """The error names a missing file or one that is not an image; endless files are not read."""
    (tmp_path / "note.txt").write_text("hello")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a regular file" in failed("search", "--image", str(tmp_path / "pipe.jpg"))
    assert "not a regular file" in failed("search", "--image", "/dev/zero")
    assert "cannot be used as a query" in failed("search", "--image", str(tmp_path / "note.txt"))
    assert "No such file" in failed("search", "--image", str(tmp_path / "nothing.png"))


def test_answers_for_other_programs(live: search.Release, embedded: Path) -> None:
    """`--json` and `--csv` print complete, machine-readable output and nothing else."""
    by_image = run("search", "--image", str(embedded / "pictures/00004.png"), "--k", "1", "--json")
    (hit,) = json.loads(by_image.stdout)["hits"]
    assert (hit["image_id"], len(hit["sha256"])) == ("00004.png", 64)
    statement = "SELECT image_id, length(image_id) AS n FROM embeddings ORDER BY image_id LIMIT 2"
    assert json.loads(run("sql", statement, "--json").stdout) == [
        {"image_id": "00000.png", "n": 9},
        {"image_id": "00001.png", "n": 9},
    ]
    assert run("sql", statement, "--csv").stdout == "image_id,n\n00000.png,9\n00001.png,9\n"
    (photos,) = json.loads(run("status", "--json").stdout)
    assert (photos["collection"], photos["images"], photos["release"]) == ("photos", 15, live.id)
    assert photos["models"][0]["embedded"] == 2


def test_version() -> None:
    """It says which version is installed."""
    assert re.fullmatch(r"clip-assets \d+\.\d+\.\d+\n", run("--version").stdout)


def test_backfill_refuses_a_bad_selection_at_once(tmp_path: Path) -> None:
    """Before anything is loaded or listed."""
    assert "`3..x` is not a selection of shards" in failed("backfill", "photos", "--shards", "3..x")
    assert not (tmp_path / "home").exists()


def test_captions_are_shown_as_they_are(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_spec: ModelSpec
) -> None:
    """Brackets in a caption are text, not markup of the terminal."""
    captions = ["[bold]x[/bold]", "[/nothing]", "a [link=https://example.org]trap[/link]"]
    made = Made(Objects(str(tmp_path / "photos")))
    made.add("00000", table=table_of(["a", "b", "c"], captions, clustered_vectors(3, 1)))
    with psycopg.connect(database, autocommit=True) as connection:
        found = publish(connection, made)
        hits = search.search(connection, found, clustered_vectors(1, 2)[0], 3)
    monkeypatch.setattr("clip_assets.cli.search.search_live", lambda *_: (found, hits))
    result = run("search", "x")
    assert result.exit_code == 0
    assert all(caption in result.stdout for caption in captions)


def test_status_without_a_collection(database: str) -> None:
    """A fresh installation is told where to start."""
    assert "No collections yet. Try `clip-assets demo`" in run("status").stdout


def test_status_outside_any_project(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not an error, because a setting may name the data folder."""
    monkeypatch.setenv("CLIP_ASSETS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert "Create one with `clip-assets new FOLDER`" in run("status").stdout


def test_status(live: search.Release, data: Path) -> None:
    """It shows images, shards, embedded and indexed shards, and the release, one row per model."""
    row = r"photos\W+15\W+2\W+tiny\S*\W+2/2\W+2/2\W+" + rf"{live.id}, \d{{4}}-"
    assert re.search(row, run("status").stdout)


def _write_defs(project: Project, model: ModelSpec) -> None:
    document = {
        "type": "clip_assets.ImageCollection",
        "attributes": {"collection": COLLECTION, "model": model.model_dump(exclude_none=True)},
    }
    path = project.defs_folder / COLLECTION / "defs.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(document))


@pytest.mark.parametrize("edited", [False, True])
def test_status_of_a_model_that_was_edited_in_place(
    live: search.Release, data: Path, project: Project, tiny_spec: ModelSpec, edited: bool
) -> None:
    """The live model is in no YAML: `status` explains this and names both remedies."""
    model = tiny_spec.model_copy(update={"untrained_seed": 7} if edited else {})
    _write_defs(project, model)
    said = run("status").stdout
    sentence = (
        f"photos answers with the model {tiny_spec.slug}, which no defs.yaml defines any more: new "
        "images are not embedded for it. Either restore its `model:`, or switch to "
        f"{model.slug} with `clip-assets backfill photos`."
    )
    assert (sentence in said) == edited


def test_after_an_update_that_decodes_otherwise_texts_are_searched_for(
    live: search.Release, data: Path, project: Project, tiny_spec: ModelSpec, embedded: Path
) -> None:
    """An image file is refused; `status` and the refusal name the command that embeds again."""
    with psycopg.connect(database_dsn(Settings())) as connection:
        older = live.identity.model_copy(update={"decode": 1, "preprocess": "c" * 64})
        connection.execute(
            "UPDATE clip_assets.index SET identity = %s, identity_key = %s",
            [Jsonb(older.model_dump()), older.key],
        )
    _write_defs(project, tiny_spec)
    image = str(embedded / "pictures/00004.png")
    assert "in its decode version" in failed("search", "--image", image)
    assert run("search", "a photo of a cloud").exit_code == 0
    again = "`clip-assets backfill photos --shards all --again`"
    assert re.search(f"decode version 1, and this version .*{again}", run("status").stdout)


def test_status_counts_rejected_images(live: search.Release, data: Path) -> None:
    """Rejected images of an indexed shard are counted, with the command that lists the reasons."""
    head_file = data / COLLECTION / paths.CATALOG
    head = json.loads(head_file.read_text())
    head["shards"][0]["live"] += 2
    head_file.write_text(json.dumps(head))
    said = run("status").stdout
    assert re.search(r"photos: tiny\S* rejects 2; `clip-assets sql \"FROM rejects\"", said)
    (photos,) = json.loads(run("status", "--json").stdout)
    assert photos["models"][0]["rejected"] == 2


def test_status_beside_an_index_of_another_type(
    live: search.Release, data: Path, database: str, tiny_spec: ModelSpec
) -> None:
    """While a second index of the model is filled, the row shows the live index."""
    with psycopg.connect(database, autocommit=True) as connection:
        wide = IndexSpec(COLLECTION, tiny_spec, VectorType.VECTOR)
        tables.ensure(connection, wide, live.identity)
    row = r"photos\W+15\W+2\W+tiny\S*\W+2/2\W+2/2\W+" + rf"{live.id}, \d{{4}}-"
    assert re.search(row, run("status").stdout)


def test_status_of_what_is_only_listed(data: Path, database: str) -> None:
    """A collection with only a catalog is shown."""
    shutil.rmtree(data / COLLECTION / "embeddings")
    assert re.search(r"photos\W+15\W+2\W+", run("status").stdout)


def test_status_before_the_index(data: Path, database: str) -> None:
    """Shards that are embedded but not indexed are counted as such."""
    assert re.search(r"photos\W+15\W+2\W+tiny\S*\W+2/2\W+0/2\W+-", run("status").stdout)


@pytest.fixture
def analyst(live: search.Release, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """DATABASE_URL logs in as a role that is a member of clip_reader and nothing more."""
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("CREATE ROLE analyst LOGIN IN ROLE clip_reader")
        address = psycopg.conninfo.make_conninfo(database, user="analyst")
        monkeypatch.setenv("DATABASE_URL", address)
        yield address
        owner.execute("DROP ROLE analyst")


def test_a_reader_reads(analyst: str, live: search.Release, data: Path) -> None:
    """A role that may not create anything can search and see the status."""
    row = r"photos\W+15\W+2\W+tiny\S*\W+2/2\W+2/2\W+" + rf"{live.id}, \d{{4}}-"
    assert re.search(row, run("status").stdout)
    assert f"release {live.id} by" in run("search", "a photo of a cloud", "--k", "3").stdout
    with psycopg.connect(analyst, autocommit=True) as connection:
        for kind in ("TABLE clip_assets.mine ()", "TABLE public.mine ()", "SCHEMA mine"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"CREATE {kind}")  # type: ignore[arg-type]


def test_a_reader_verifies(analyst: str, live: search.Release, data: Path) -> None:
    """It compares all but erasures, whose names a reader may not see."""
    found = run("verify", COLLECTION, "--sample", "0")
    assert found.exit_code == 0, found.stderr
    assert "Erasures are not compared: analyst may not read them." in found.stdout


def test_a_reader_does_not_migrate(
    analyst: str, database: str, live: search.Release, data: Path
) -> None:
    """It says which command to run as whom; once that is done, it reads."""
    latest = migrations()[-1].number
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("DELETE FROM clip_assets.migration WHERE number = %s", [latest])
        for command in (["status"], ["search", "a cloud"]):
            said = failed(*command)
            assert f"at migration {latest - 1}, but" in said
            assert f"needs migration {latest}: run `clip-assets migrate`" in said
        owner.execute("INSERT INTO clip_assets.migration VALUES (%s, 'by an owner', '')", [latest])
    assert str(live.id) in run("status").stdout


def test_a_role_that_may_not_read(
    live: search.Release, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the missing grant."""
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("CREATE ROLE stranger LOGIN")
        monkeypatch.setenv(
            "DATABASE_URL", psycopg.conninfo.make_conninfo(database, user="stranger")
        )
        assert "run GRANT clip_reader TO stranger" in failed("search", "a cloud")
        owner.execute("DROP ROLE stranger")


def test_migrate(database: str) -> None:
    """It prints the migrations that it applied; the second time there are none."""
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("DROP SCHEMA clip_assets CASCADE")
    lines = run("migrate").stdout.splitlines()
    assert lines == [f"Applied migration {one.number}: {one.name}." for one in migrations()]
    assert run("migrate").stdout == "No migrations are pending.\n"


def test_readers_of_a_new_installation(
    open_folder: Callable[[], Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an embedded server that was never migrated, `search` and `status` say where to start, and
    do not migrate."""
    monkeypatch.setenv("CLIP_ASSETS_HOME", str(open_folder()))
    assert "Nothing is released yet. Materialize `release`" in failed("search", "a cloud")
    assert re.search(r"photos\W+15\W+2\W+tiny\S*\W+2/2\W+0/2\W+-", run("status").stdout)
    with connect(database_dsn(Settings())) as connection:
        assert newest(connection) is None
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(data / "nothing"))
    assert "No collections yet. Try `clip-assets demo`" in run("status").stdout


def test_verify_on_the_embedded_server(
    open_folder: Callable[[], Path],
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_spec: ModelSpec,
) -> None:
    """It may read which erasures there are, which the service and searches may not."""
    monkeypatch.setenv("CLIP_ASSETS_HOME", str(open_folder()))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with connect_owner(Settings()) as connection:
        _released(connection, data, tiny_spec)
    found = run("verify", COLLECTION, "--sample", "0")
    assert found.exit_code == 0, found.stderr
    assert "not compared" not in found.stdout


def test_rollback(live: search.Release, database: str, data: Path) -> None:
    """It prints which release is live now, or that there is no rollback target."""
    assert "no earlier release of another index" in failed("rollback", COLLECTION)
    with psycopg.connect(database, autocommit=True) as connection:
        other = Made(Objects(str(data / COLLECTION)))
        other.add("00000")
        publish(connection, other)
        result = run("rollback", COLLECTION)
        assert f"Release {live.id} by {live.identity.short} is live" in result.stdout
        assert search.live(connection) == live


def test_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the database does not answer, every command that needs it prints one sentence."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/nothing")
    for command in (["status"], ["search", "a cloud"], ["rollback", "photos"]):
        assert "Check DATABASE_URL" in failed(*command)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of the test's own for `init` to write to."""
    made = write_project(tmp_path / "photos-search")
    monkeypatch.setenv(VARIABLE, str(made.root))
    return made


def _written(project: Project, name: str) -> dict[str, object]:
    text = (project.defs_folder / name / "defs.yaml").read_text()
    document: dict[str, object] = yaml.safe_load(text)
    return document


def _collections(project: Project) -> list[Path]:
    return [*project.root.rglob("defs.yaml")]


def test_init_writes_what_the_readme_shows(project: Project) -> None:
    """The README's command writes the README's YAML."""
    (command,) = re.findall(r"`(clip-assets init photos .*?)`", README.read_text())
    block = README.read_text().split("```yaml")[1].split("```")[0]
    result = run(*shlex.split(command)[1:])
    assert result.exit_code == 0
    assert "Next: `clip-assets backfill photos`" in result.stdout
    assert _written(project, "photos") == yaml.safe_load(block)


def test_status_of_a_new_project(project: Project, database: str) -> None:
    """It prints the next step: first `init`, then `backfill`."""
    assert "clip-assets init photos" in run("status").stdout
    run("init", "photos", "s3://bucket/photos")
    assert "Run `clip-assets backfill photos`" in run("status").stdout


def test_init_examples_of_the_help(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example of `init --help` works as printed, with a hub that answers."""
    beans = {"type": "huggingface", "dataset": "AI-Lab-Makerere/beans"}
    monkeypatch.setattr(
        scaffold, "inspect_dataset", lambda dataset: Inspection({**beans, "dataset": dataset})
    )
    shown = run("init", "--help").stdout
    text = re.sub(r"\s+(--)", r" \1", shown.split("╭")[0])
    examples = re.findall(r"clip-assets (init .*?)\s*$", text, re.MULTILINE)
    assert len(examples) == 3
    for example in examples:
        assert run(*shlex.split(example)).exit_code == 0
    assert len(_collections(project)) == 3
    assert _written(project, "beans")["attributes"]["source"] == beans  # type: ignore[index]


def test_dagster_accepts_what_init_writes(
    project: Project, tmp_path: Path, write_pictures: Callable[..., Path], tiny_spec: ModelSpec
) -> None:
    """The component loads the YAML and gives the collection's four assets."""
    pictures = write_pictures(tmp_path / "pictures", 1)
    assert run("init", "zoo", str(pictures), "--model", tiny_spec.name).exit_code == 0
    with create_defs_folder_sandbox() as sandbox:
        shutil.copytree(project.defs_folder / "zoo", sandbox.defs_folder_path / "zoo")
        with sandbox.build_all_defs() as defs:
            graph = defs.resolve_asset_graph()
    keys = {key.path[-1] for key in graph.get_all_asset_keys()}
    assert {"catalog", "embeddings", "search_index", "release"} <= keys


def test_init_keeps_folders_of_this_machine(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative folder is written as its full path, because Dagster runs elsewhere."""
    (tmp_path / "pictures").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run("init", "zoo", "pictures").exit_code == 0
    attributes = _written(project, "zoo")["attributes"]
    assert attributes["source"]["uri"] == str(tmp_path / "pictures")  # type: ignore[index]


def test_init_looks_into_a_dataset(project: Project, tmp_path: Path) -> None:
    """The findings are printed and written; nothing is written for a dataset without images."""
    images = pa.array([picture(1), picture(2)], pa.binary())
    (tmp_path / "set").mkdir()
    pq.write_table(
        pa.table({"img": images, "text": ["a", "b"]}), tmp_path / "set/test-00000-of-00001.parquet"
    )
    done = run("init", "zoo", str(tmp_path / "set"), "--kind", "huggingface")
    assert done.stdout.startswith("split: test (of test)\nimages: img\ncaptions: text\n1 files")
    attributes: Any = _written(project, "zoo")["attributes"]
    assert attributes["source"] == {
        "type": "huggingface",
        "dataset": str(tmp_path / "set"),
        "split": "test",
        "image_column": "img",
        "caption_column": "text",
    }
    (tmp_path / "none").mkdir()
    said = failed("init", "other", str(tmp_path / "none"), "--kind", "huggingface")
    assert "has no images that can be read" in said
    assert len(_collections(project)) == 1


@pytest.mark.parametrize(
    "name", ["Photos", "my-photos", "../evil", "", "a b", "public", "clip_assets", "x" * 60]
)
def test_init_refuses_a_bad_name(project: Project, name: str) -> None:
    """An invalid collection name is refused before anything is written."""
    assert "cannot name a collection" in failed("init", name, "s3://bucket/photos")
    assert not _collections(project)


def test_init_refuses_a_folder_that_is_not_there(project: Project, tmp_path: Path) -> None:
    """A mistyped path is reported at once, not by an empty listing later."""
    assert "is not a folder on this machine" in failed("init", "zoo", str(tmp_path / "typo"))
    assert not _collections(project)


def test_init_refuses_what_exists(project: Project) -> None:
    """A collection's YAML is never overwritten."""
    assert run("init", "zoo", "s3://bucket/zoo").exit_code == 0
    before = _written(project, "zoo")
    assert "exists. Edit it, or choose another name" in failed("init", "zoo", "s3://bucket/other")
    assert _written(project, "zoo") == before


def test_init_refuses_an_unknown_kind(project: Project) -> None:
    """The error lists the kinds of source."""
    said = failed("init", "zoo", "s3://bucket/zoo", "--kind", "ftp")
    assert all(kind in said for kind in ("folder", "webdataset", "huggingface"))


def test_drop_lists_deletes_and_leaves_a_receipt(
    live: search.Release, data: Path, database: str, project: Project
) -> None:
    """It deletes all of the collection and nothing of others; the receipt lists what existed."""
    with psycopg.connect(database, autocommit=True) as connection:
        other = Made(Objects(str(data / "others")))
        other.add("00000")
        result = run("drop", COLLECTION, "--yes")
        assert result.exit_code == 0, result.output
        assert "releases: 1" in result.stdout
        assert f"SQL relation {COLLECTION}.images" in result.stdout
        for table in ("index", "release", "live", "ledger", "owner", "thumbnail"):
            found = connection.execute(f"SELECT count(*) FROM clip_assets.{table}".encode())
            assert found.fetchone() == (0,), table
        schema = connection.execute("SELECT to_regnamespace('photos')").fetchone()
        assert schema == (None,)
    assert not [*data.glob(f"{COLLECTION}/**/*.*")]
    assert [*data.glob("others/**/commit.json")]
    (receipt,) = data.glob("dropped/*.json")
    assert f"Receipt: {receipt}" in result.stdout
    told = json.loads(receipt.read_text())
    assert (told["collection"], told["releases"], told["files"] > 0) == (COLLECTION, 1, True)
    assert "no data of a collection photos to drop" in failed("drop", COLLECTION, "--yes")


def test_drop_asks_first(live: search.Release, data: Path, project: Project) -> None:
    """Nothing is deleted without confirmation."""
    result = CliRunner(mix_stderr=False).invoke(app, ["drop", COLLECTION], input="n\n")
    assert "Nothing was deleted." in result.stdout
    assert str(live.id) in run("status").stdout


def test_drop_refuses_what_others_use(
    live: search.Release, data: Path, database: str, project: Project
) -> None:
    """A view in another schema would be dropped, too, so the error names it and nothing happens."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE VIEW public.mine AS SELECT image_id FROM photos.images")
    result = run("drop", COLLECTION, "--yes")
    assert result.exit_code == 1
    assert "public.mine in other schemas read photos's views" in result.stderr
    assert str(live.id) in run("status").stdout


def test_drop_refuses_what_is_defined(project: Project, database: str) -> None:
    """Automation would create it again."""
    assert run("init", "zoo", "s3://bucket/zoo").exit_code == 0
    assert "is still defined in YAML" in failed("drop", "zoo", "--yes")
