"""The page at the root of a server, and below a path behind a proxy that removes it."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from psycopg import sql

from clip_assets.index.tables import table_name
from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from clip_assets.release.release import restore_relations
from tests.browser.conftest import watched
from tests.integration.serving.support import (
    DRAWN,
    Searchable,
    drawn,
    publish,
    running,
    settings,
    wait_until_ready,
)
from tests.proxy import proxied

pytestmark = pytest.mark.browser

GRID = "#grid > li > a"
MARKUP = "<img src=x onerror=alert(1)>"
HOSTILE = [
    MARKUP,
    '"><svg/onload=alert(1)>',
    "</title></script><script>alert(1)</script>",
    "javascript:alert(1)//",
    "' onmouseover='alert(1)' x='",
    "'; DROP TABLE clip_assets.live; --",
    "{{7*7}} ${alert(1)} <%= 1 %>",
    '=HYPERLINK("http://elsewhere","click")',
    "a/../../..//etc/passwd",
    "..\\..\\windows?x=1&show=other#top%2f%00%",
    " begins and ends with a space ",
    "two\nlines\r\n\tand a tab",
    "\u202egnp.exe\u202c \u2066\u200f",
    "e\u0301" * 200 + "\u200b\ufeff\U0001f642",
    "long/" + "x" * 4_000,
    "@-0.5 +1 - −",
]
"""Names and captions that other programs have run, lost or mistaken for something else."""

EARLIER = 9
"""How many of them the earlier release has."""


@pytest.fixture(scope="module")
def hostile(
    new_database: Callable[[], str],
    tiny_spec: ModelSpec,
    tiny: Encoder,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Searchable]:
    """A service whose pictures have hostile ids, captions and values of columns; its originals can
    be opened. There are an earlier release and another collection, too."""
    folder = tmp_path_factory.mktemp("originals")
    pictures = [
        replace(drawn(number), image_id=name, caption=name, known={"color": name[:300]})
        for number, name in enumerate(HOSTILE)
    ]
    vectors = tiny.encode_images([picture.image for picture in pictures])
    early = pictures[:EARLIER]
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, tiny_spec, tiny.identity, early, vectors[:EARLIER], columns=DRAWN)
        connection.execute("UPDATE clip_assets.index SET identity_key = 'before'")
        publish(connection, tiny_spec, tiny.identity, pictures, vectors, columns=DRAWN)
        restore_relations(connection, "sample")
        publish(
            connection, tiny_spec, tiny.identity, pictures[:2], vectors[:2],
            collection=MARKUP, columns=DRAWN,
        )  # fmt: skip
        move = sql.SQL("UPDATE clip_assets.{} SET uri = %s WHERE image_id = %s")
        for number, picture in enumerate(pictures):
            (folder / f"{number}.png").write_bytes(picture.png)
            values = [str(folder / f"{number}.png"), picture.image_id]
            for index in (1, 2, 3):
                connection.execute(move.format(sql.Identifier(table_name(index))), values)
    served = settings(dsn, originals=(str(folder),), dagster_url="http://dagster:3000/")
    with running(served) as url:
        wait_until_ready(url)
        yield Searchable(url, pictures, tiny, dsn, tiny_spec)


@pytest.fixture(params=["/", "/clip/"])
def there(request: pytest.FixtureRequest, browser: Browser, hostile: Searchable) -> Iterator[Page]:
    """A page at the service or at a proxy that sends no request to anybody else."""
    with _address(request.param, hostile.url) as address, watched(browser, address) as page:
        asked: list[str] = []
        page.on("request", lambda sent: asked.append(sent.url))
        yield page
        page.goto("about:blank")  # its last pictures may still be loading when the proxy ends
        assert len(asked) > 10
        own = ("about:", "blob:", address)
        assert [url for url in asked if not url.startswith(own)] == []


@contextmanager
def _address(path: str, url: str) -> Iterator[str]:
    if path == "/":
        yield f"{url}/"
    else:
        with proxied(url) as below:
            yield f"{below}/"


def _require_accessible(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


def _settled(page: Page) -> None:
    page.wait_for_selector(f"{GRID} img.seen")


def _shown(page: Page) -> list[str]:
    links = page.locator(GRID).evaluate_all("links => links.map(link => link.href)")
    return [parse_qs(urlsplit(link).query)["show"][0] for link in links]


def _download(page: Page, kind: str) -> str:
    with page.expect_download() as started:
        page.get_by_role("button", name=kind, exact=True).click()
    return Path(started.value.path()).read_bytes().decode()


def _run(service: Searchable, statement: str) -> list[str]:
    with psycopg.connect(service.dsn) as connection:
        connection.execute("SET ROLE clip_reader")
        return [row[0] for row in connection.execute(statement.encode())]


def test_every_control_works(there: Page, hostile: Searchable) -> None:
    """Starting at the first page, each feature is used once; axe finds nothing serious."""
    there.emulate_media(reduced_motion="reduce")  # axe would measure colours amid a transition
    there.goto("./")
    there.wait_for_selector(".shelf img.seen")
    _require_accessible(there)
    there.get_by_role("link", name="a photo of a cloud").first.click()
    _settled(there)
    there.get_by_role("searchbox").fill("a gold ellipse")
    there.get_by_role("button", name="Search", exact=True).click()
    expect(there).to_have_title("a gold ellipse – image search")
    _settled(there)
    _use_chips(there)
    _use_filters(there)
    _use_tools(there)
    _use_the_dialog(there)
    there.get_by_label("Compare with release").select_option(index=1)
    there.wait_for_selector("#other-grid img.seen")
    _require_accessible(there)
    there.get_by_label("Collection").select_option(MARKUP)
    expect(there.locator("#release")).to_contain_text(f"{MARKUP} · 2 images")
    there.wait_for_selector(".shelf img.seen")
    mine = {"name": f"{MARKUP}.png", "mimeType": "image/png", "buffer": hostile.pictures[1].png}
    there.locator("#file").set_input_files(mine)  # type: ignore[arg-type]
    expect(there.locator("#source")).to_contain_text(MARKUP)
    _settled(there)
    assert _shown(there)[0] == HOSTILE[1]
    there.get_by_role("heading", name="Find a picture").get_by_role("link").click()
    there.wait_for_selector(".shelf img.seen")


def _use_chips(page: Page) -> None:
    for text, button in (("sea", "+ more"), (MARKUP, "− less")):
        page.get_by_label("Also search for, or away from").fill(text)
        page.get_by_role("button", name=button).click()
        expect(page.locator(".chip", has_text=text)).to_be_visible()
    page.get_by_role("button", name=f"Reverse “{MARKUP}”").click()
    page.get_by_role("button", name=f"Weight of “{MARKUP}”: 0.5").click()
    expect(page.get_by_role("button", name=f"Weight of “{MARKUP}”: 1")).to_be_visible()
    page.get_by_role("button", name="Remove “sea”").click()
    expect(page.locator(".chip")).to_have_count(1)


def _use_filters(page: Page) -> None:
    page.locator("#filter > summary").click()
    for name, value in (("Min. width", "1"), ("Min. height", "1"), ("Min. score", "-1")):
        page.get_by_label(name).fill(value)
    page.get_by_label("File URI starts with").fill("/")
    page.get_by_label("Caption contains").press("Enter")
    page.locator("#fold").select_option("identical files")
    page.get_by_label("color", exact=True).select_option(MARKUP)
    expect(page.locator(GRID)).to_have_count(1)
    expect(page.locator("#filters")).to_have_text(" · 6")
    _require_accessible(page)
    page.get_by_label("color", exact=True).select_option("any")
    expect(page.locator(GRID)).to_have_count(len(HOSTILE))
    _settled(page)


def _use_tools(page: Page) -> None:
    first = page.locator("#grid > li").first
    first.hover()
    right = first.get_by_role("button", name="Right:")
    for pressed in ("true", "false"):  # given, then withdrawn
        right.click()
        expect(right).to_have_attribute("aria-pressed", pressed)
    first.get_by_role("checkbox").check()
    assert [hit["image_id"] for hit in json.loads(_download(page, "JSON"))] == _shown(page)[:1]
    assert _download(page, "Ids") == _shown(page)[0]
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Keys").click()
    _require_accessible(page)
    page.keyboard.press("Escape")


def _use_the_dialog(page: Page) -> None:
    page.locator(GRID).first.click()
    page.get_by_role("link", name="Next picture").click()
    page.get_by_role("link", name="Previous picture").click()
    page.get_by_text("Why is this here?").click()
    expect(page.locator(".why")).to_contain_text("run-release")
    run = page.locator("#detail a", has_text="run-embed").first
    expect(run).to_have_attribute("href", "http://dagster:3000/runs/run-embed")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Cop", exact=False)).not_to_have_text("Copy link")
    _require_accessible(page)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Original").click()
    opened.value.wait_for_load_state()
    assert opened.value.evaluate("document.images[0].naturalWidth") > 0
    opened.value.close()
    page.get_by_role("link", name="+ this").click()
    expect(page.locator(".chip")).to_have_count(2)
    expect(page.locator(GRID)).to_have_count(len(HOSTILE) - 1)
    _settled(page)
    in_both = next(at for at, name in enumerate(_shown(page)) if name in HOSTILE[:EARLIER])
    page.locator(GRID).nth(in_both).click()
    page.get_by_role("link", name="More like this").click()
    expect(page.locator("#source img")).to_be_visible()
    _settled(page)
    page.reload()
    _settled(page)


def test_hostile_names_are_text(there: Page, hostile: Searchable) -> None:
    """Each id and caption is shown as it is, opened, searched for and exported, and never runs."""
    there.goto("./?q=ellipse")
    _settled(there)
    shown = _shown(there)
    assert sorted(shown) == sorted(HOSTILE)
    there.locator(GRID).first.click()
    for number, name in enumerate(shown):
        expect(there.locator("#detail-title")).to_have_js_property("textContent", name)
        identity = there.locator("#detail dt", has_text="Id").locator("+ dd").first
        expect(identity).to_have_js_property("textContent", name)
        if number + 1 < len(shown):
            there.keyboard.press("ArrowRight")
    there.get_by_text("Why is this here?").click()
    expect(there.locator(".why dd").first).to_be_visible()
    there.keyboard.press("Escape")
    assert _run(hostile, _download(there, "SQL")) == shown
    rows = list(csv.DictReader(io.StringIO(_download(there, "CSV"), newline="")))
    assert [row["image_id"].removeprefix("'") for row in rows] == [
        name.removeprefix("'") for name in shown
    ]
    assert not [row for row in rows if row["image_id"].startswith(("=", "@", "+", "-"))]
    for name in HOSTILE:
        there.goto("./?" + urlencode({"like": name}))
        expect(there.locator("#source")).to_contain_text(name.strip()[:100].split("\n")[0])
        _settled(there)
        assert name not in _shown(there)
    everywhere = {"q": MARKUP, "term": f"0.5 @{MARKUP}", "words": MARKUP, "collection": MARKUP}
    there.goto("./?" + urlencode(everywhere))
    expect(there.locator("#status")).to_contain_text("No pictures found")
    assert there.locator("img[onerror]").count() == 0
