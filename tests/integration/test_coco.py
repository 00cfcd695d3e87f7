"""A collection as COCO has it, by every door: images, and annotations in a file beside them."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from playwright.sync_api import Browser, Page
from typer.testing import CliRunner

from clip_assets import catalog
from clip_assets.cli.app import app
from clip_assets.index import build, load, tables
from clip_assets.index.spec import IndexSpec
from clip_assets.judge import judge
from clip_assets.judge.judgement import Wanted
from clip_assets.lake.lake import Lake
from clip_assets.model import ModelSpec
from clip_assets.release import release
from clip_assets.source.config import Knowledge
from clip_assets.store.objects import Objects
from tests import web
from tests.browser.conftest import browser
from tests.integration.pictures import embed_pictures
from tests.integration.serving.support import running, settings, wait_until_ready
from tests.integration.support import COLLECTION

__all__ = ["browser"]

COUNT = 24
KNOWN = Knowledge.model_validate(
    {
        "metadata": {"from": "annotations/instances.json"},
        "captions": {"from": "annotations/captions.json"},
        "columns": {
            "category": {"from": "metadata.categories"},
            "price": {"from": "metadata.price", "type": "double"},
            "taken_at": {"from": "metadata.date_captured", "type": "timestamp"},
        },
    }
)
CATEGORIES = ("dog", "cat", "surfboard")


def _write_annotations(pictures: Path) -> None:
    """COCO's two files: instances with categories, and two captions of each image."""
    images = [
        {
            "id": 1000 + n,
            "file_name": f"{n:05d}.png",
            "price": n / 2,
            "date_captured": f"2013-11-{1 + n:02d} 17:02:52",
        }
        for n in range(COUNT)
    ]
    boxes = [
        {"id": n, "image_id": 1000 + n, "category_id": n % 3, "bbox": [0, 0, 1, 1]}
        for n in range(COUNT)
    ]
    texts = [
        {"id": 2 * n + k, "image_id": 1000 + n, "caption": f"{word} of number {n}"}
        for n in range(COUNT)
        for k, word in enumerate(("a picture", "another view"))
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(CATEGORIES)]
    (pictures / "annotations").mkdir()
    for name, told in (("instances", boxes), ("captions", texts)):
        written = {"images": images, "annotations": told, "categories": categories}
        (pictures / "annotations" / f"{name}.json").write_text(json.dumps(written))


@dataclass(frozen=True)
class Coco:
    """The live collection: its files, its database, and the folder of its images."""

    objects: Objects
    dsn: str
    pictures: Path


@pytest.fixture(scope="module")
def coco(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[[], str],
    write_pictures: Callable[..., Path],
    tiny_spec: ModelSpec,
) -> Iterator[Coco]:
    folder = tmp_path_factory.mktemp("coco")
    pictures = write_pictures(folder / "pictures", COUNT)
    for text in pictures.glob("*.txt"):
        text.unlink()
    _write_annotations(pictures)
    objects = embed_pictures(folder / "data" / COLLECTION, pictures, tiny_spec, knowledge=KNOWN)
    dsn = new_database()
    kinds = {name: column.type for name, column in KNOWN.columns.items()}
    with psycopg.connect(dsn, autocommit=True) as connection:
        current = [shard.at for shard in catalog.require(objects, COLLECTION).shards]
        spec = IndexSpec(COLLECTION, tiny_spec)
        index = load.reconcile(connection, objects, spec, current, kinds).index
        build.build(connection, index, COUNT)
        judge.judge(connection, objects, index, Wanted(recall=0.95))
        index = tables.find(connection, COLLECTION, tiny_spec.slug)
        release.publish(connection, index, "run-release")
    yield Coco(objects, dsn, pictures)
    shutil.rmtree(folder)


WANTED = ["00015.png", "00018.png", "00021.png"]
"""Dogs from 6 to 10.5 dollars, but for number 12, which was taken on the 13th of November."""
FILTER: dict[str, Any] = {
    "category": "dog",
    "price": {"min": 6, "max": 10.5},
    "taken_at": {"min": "2013-11-14", "max": "2013-11-22T17:02:52"},
}


def _by_command(coco: Coco, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    assert coco.objects.folder
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(coco.objects.folder.parent))
    monkeypatch.setenv("DATABASE_URL", coco.dsn)
    where = ["category=dog", "price>=6", "price<=10.5", "taken_at>=2013-11-14"]
    options = [option for one in where for option in ("--where", one)]
    until = '{"columns": {"taken_at": {"max": "2013-11-22T17:02:52"}}}'
    done = CliRunner(mix_stderr=False).invoke(
        app, ["search", "a dog", *options, "--filter", until, "--json"]
    )
    assert done.exit_code == 0, done.stderr
    return [hit["image_id"] for hit in json.loads(done.stdout)["hits"]]


def _by_page(page: Page, url: str) -> list[str]:
    page.goto(url)
    page.locator("#filter summary").click()
    page.get_by_label("category").select_option("dog")
    for end, known in {"from": "min", "to": "max"}.items():
        page.get_by_label(f"price {end}").fill(str(FILTER["price"][known]))
    page.get_by_label("taken_at from").fill("2013-11-14T00:00")
    page.get_by_label("taken_at to").fill(FILTER["taken_at"]["max"])
    page.get_by_label("Describe a picture").fill("a dog")
    page.get_by_role("button", name="Search", exact=True).click()
    page.wait_for_selector("#status:has-text('most similar first')")
    links = page.locator("#grid > li > a").evaluate_all("links => links.map(({ href }) => href)")
    return [parse_qs(urlsplit(link).query)["show"][0] for link in links]


def test_every_door_searches_by_what_is_known(
    coco: Coco, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line, HTTP, the page, Postgres and DuckDB give the same images for the same
    conditions on a category, a price and a time."""
    with running(settings(coco.dsn)) as url:
        wait_until_ready(url)
        with closing(browser.new_page()) as page:
            assert sorted(_by_page(page, url)) == WANTED
        asked = {"text": "a dog", "k": 10, "filter": {"columns": FILTER}}
        answer = web.post(f"{url}/v1/search", json=asked).json()
        by_category = web.post(
            f"{url}/v1/search",
            json={"text": "a cat", "k": 50, "filter": {"columns": {"category": "cat"}}},
        ).json()
    hits = {hit["image_id"]: hit for hit in answer["hits"]}
    assert sorted(hits) == WANTED
    assert hits["00015.png"]["columns"] == {
        "category": "dog", "price": 7.5, "taken_at": "2013-11-16T17:02:52",
    }  # fmt: skip
    assert hits["00015.png"]["caption"] == "a picture of number 15\nanother view of number 15"
    assert len(by_category["hits"]) == COUNT / 3

    assert sorted(_by_command(coco, monkeypatch)) == WANTED

    with psycopg.connect(coco.dsn) as connection:
        found = connection.execute(
            "SELECT image_id FROM photos.search("
            "(SELECT embedding FROM photos.images WHERE image_id = '00000.png'), %s::jsonb, 10)",
            [json.dumps(FILTER)],
        ).fetchall()
    assert sorted(name for (name,) in found) == WANTED

    by_duckdb = (
        Lake(coco.objects)
        .connect()
        .execute(
            "SELECT image_id FROM embeddings WHERE category = 'dog' AND price BETWEEN 6 AND 10.5 "
            "AND taken_at BETWEEN TIMESTAMP '2013-11-14' AND TIMESTAMP '2013-11-22 17:02:52'"
        )
        .fetchall()
    )
    assert sorted(name for (name,) in by_duckdb) == WANTED


def test_conditions_that_cannot_be_are_one_sentence(
    coco: Coco, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column that is not declared, a value of another type, and what is no condition."""
    for option, said in {
        "--where=prize=3": "no column 'prize'; it declares category, price, taken_at",
        "--where=price>=cheap": "The column 'price'",
        "--where=price": "'price' is not a condition. Write NAME=VALUE",
        '--filter={"colums": {}}': "The filter cannot be used (colums:",
    }.items():
        monkeypatch.setenv("DATABASE_URL", coco.dsn)
        done = CliRunner(mix_stderr=False).invoke(app, ["search", "a dog", option])
        assert (done.exit_code, said in done.stderr) == (1, True), done.stderr
