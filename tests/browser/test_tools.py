"""What the page can do beyond a search: chips, scrolling, selecting, comparing, explaining."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from clip_assets.keys import KeyFile
from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from clip_assets.release.release import restore_relations
from tests import web
from tests.browser.conftest import PATIENT_MILLISECONDS, watched
from tests.integration.serving.support import (
    COLORS,
    DRAWN,
    Searchable,
    drawn,
    publish,
    running,
    settings,
    wait_until,
    wait_until_ready,
)

pytestmark = pytest.mark.browser

GRID = "#grid > li > a"
PICTURES = 40


@pytest.fixture(scope="module")
def many(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> Iterator[Searchable]:
    """Forty pictures by two releases; the earlier one has the first ten. The last two have the
    file of the fourth."""
    pictures = [drawn(number) for number in range(PICTURES - 2)]
    pictures += [replace(pictures[3], image_id=f"it's a copy/{number}") for number in range(2)]
    vectors = tiny.encode_images([picture.image for picture in pictures])
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, tiny_spec, tiny.identity, pictures[:10], vectors[:10], columns=DRAWN)
        connection.execute("UPDATE clip_assets.index SET identity_key = 'before'")
        publish(connection, tiny_spec, tiny.identity, pictures, vectors, columns=DRAWN)
        restore_relations(connection, "sample")
    with running(settings(dsn)) as url:
        wait_until_ready(url)
        yield Searchable(url, pictures, tiny, dsn, tiny_spec)


@pytest.fixture
def on_many(browser: Browser, many: Searchable) -> Iterator[Page]:
    with watched(browser, many.url) as page:
        yield page


def _open(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(f"{GRID} img.seen")


def _query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def _shown(page: Page) -> list[str]:
    links = page.locator(GRID).evaluate_all("links => links.map(link => link.href)")
    return [parse_qs(urlsplit(link).query)["show"][0] for link in links]


def _scroll_to_the_end(page: Page) -> None:
    page.wait_for_selector(f"{GRID} img.seen")
    while page.locator("#more").is_visible():
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(100)


def test_scrolling_down_shows_every_picture_once(on_many: Page, many: Searchable) -> None:
    """In the order of one large answer; at the end there is no button."""
    _open(on_many, "/?q=gold")
    _scroll_to_the_end(on_many)
    expect(on_many.locator(GRID)).to_have_count(PICTURES)
    whole = web.post(f"{many.url}/v1/search", json={"text": "gold", "k": PICTURES}).json()
    assert _shown(on_many) == [hit["image_id"] for hit in whole["hits"]]
    expect(on_many.locator("#more")).to_be_hidden()


def test_chips_search_towards_and_away(on_many: Page, many: Searchable) -> None:
    """A chip is added, negated, weighted and removed; the address restores all chips."""
    _open(on_many, "/?q=gold")
    plain = _shown(on_many)
    on_many.get_by_label("Also search for, or away from").fill("people, + all")
    on_many.get_by_role("button", name="− less").click()
    expect(on_many.locator(".chip.away")).to_contain_text("people, + all")
    assert _query(on_many)["term"] == ["-0.5 people, + all"]
    on_many.get_by_role("button", name="Weight of “people, + all”: 0.5").click()
    expect(on_many.get_by_role("button", name="Weight of “people, + all”: 1")).to_be_visible()
    on_many.get_by_role("button", name="Reverse “people, + all”").click()
    expect(on_many.locator(".chip:not(.away)")).to_have_count(1)
    on_many.reload()
    expect(on_many.locator(".chip")).to_contain_text("people, + all")
    assert _query(on_many)["term"] == ["1 people, + all"]
    terms = [{"text": "gold"}, {"text": "people, + all", "weight": 1}]
    answer = web.post(f"{many.url}/v1/search", json={"terms": terms}).json()
    on_many.wait_for_selector(f"{GRID} img.seen")
    assert _shown(on_many)[:24] == [hit["image_id"] for hit in answer["hits"]]
    on_many.get_by_role("button", name="Remove “people, + all”").click()
    expect(on_many.locator(".chip")).to_have_count(0)
    on_many.wait_for_selector(f"{GRID} img.seen")
    assert _shown(on_many)[:24] == plain[:24]


def test_a_picture_becomes_a_chip(on_many: Page) -> None:
    """From its dialog, towards it or away from it; it is then not among the hits."""
    _open(on_many, "/?q=gold")
    first = _shown(on_many)[0]
    on_many.locator(GRID).first.click()
    on_many.get_by_role("link", name="− this").click()
    expect(on_many.locator(".chip.away")).to_have_count(1)
    assert _query(on_many)["term"] == [f"-0.5 @{first}"]
    on_many.wait_for_selector(f"{GRID} img.seen")
    assert first not in _shown(on_many)


def test_a_score_cuts_off(on_many: Page) -> None:
    """The address keeps it."""
    _open(on_many, "/?q=gold")
    third = float(on_many.locator(".score").nth(2).text_content() or "") - 0.0006
    on_many.get_by_text("Filter", exact=True).click()
    on_many.get_by_label("Min. score").fill(f"{third:.4f}")
    on_many.keyboard.press("Enter")
    expect(on_many.locator("#status")).to_contain_text("most similar first")
    scores = [float(text) for text in on_many.locator("#grid .score").all_text_contents()]
    assert 3 <= len(scores) < 24
    assert min(scores) >= third - 0.001
    assert _query(on_many)["min_score"] == [f"{third:.4f}"]


def _download(page: Page, kind: str) -> str:
    with page.expect_download() as started:
        page.get_by_role("button", name=kind, exact=True).click()
    return Path(started.value.path()).read_bytes().decode()


def test_selected_pictures_are_exported(on_many: Page, many: Searchable) -> None:
    """Without a selection, all pictures that are shown."""
    _open(on_many, "/?q=gold&words=gold")
    shown = _shown(on_many)
    everything = json.loads(_download(on_many, "JSON"))
    assert [hit["image_id"] for hit in everything] == shown
    for number in (1, 3):
        on_many.locator(GRID).nth(number).focus()
        on_many.keyboard.press("x")
    expect(on_many.locator("#chosen")).to_have_text("2 selected")
    chosen = [shown[1], shown[3]]
    assert _download(on_many, "Ids").split("\n") == chosen
    assert _run(many, _download(on_many, "SQL")) == chosen
    rows = list(csv.DictReader(io.StringIO(_download(on_many, "CSV"))))
    assert [row["image_id"] for row in rows] == chosen
    assert rows[0]["run_id"] == "run-embed"


def test_a_range_is_selected_and_cleared(on_many: Page) -> None:
    """With Shift, from the picture that was clicked before; Escape and a button end it."""
    _open(on_many, "/?q=gold")
    boxes = on_many.locator("#grid .choose input")
    boxes.nth(1).click()
    boxes.nth(4).click(modifiers=["Shift"])
    expect(on_many.locator("#chosen")).to_have_text("4 selected")
    assert _download(on_many, "Ids").split("\n") == _shown(on_many)[1:5]
    on_many.keyboard.press("Escape")
    expect(on_many.locator("#chosen")).to_have_text("")
    expect(on_many.locator("#grid :checked")).to_have_count(0)
    boxes.nth(2).click()
    on_many.get_by_role("button", name="Clear").click()
    expect(on_many.locator("#grid :checked")).to_have_count(0)


def _run(many: Searchable, statement: str) -> list[str]:
    with psycopg.connect(many.dsn) as connection:
        connection.execute("SET ROLE clip_reader")
        return [row[0] for row in connection.execute(statement.encode())]


SEARCHES = {
    "a text": {"q": "it's 'gold' -- or\n;"},
    "filters": {"q": "gold", "words": "ellipse", "columns": '{"number": {"min": 3}}'},
    "a stored picture": {"like": "it's a copy/1"},
    "terms": {"q": "gold", "term": ["0.5 blue", "-0.5 @shapes/01-seagreen.png"]},
    "equal files folded": {"q": "gold", "fold": "1"},
    "near-duplicates folded": {"q": "an ellipse", "fold": "near"},
}


@pytest.mark.parametrize("asked", SEARCHES.values(), ids=SEARCHES.keys())
def test_the_exported_sql_gives_what_is_shown(
    on_many: Page, many: Searchable, asked: dict[str, object]
) -> None:
    """The same pictures in the same order, of all pages; also those above a score."""
    address = f"/?{urlencode(asked, doseq=True)}"
    on_many.goto(address)
    _scroll_to_the_end(on_many)
    shown = _shown(on_many)
    assert len(shown) < PICTURES or "fold" not in asked
    assert _run(many, _download(on_many, "SQL")) == shown
    scores = on_many.locator("#grid .score").all_text_contents()
    cut = float(scores[len(scores) // 2]) + 0.0004
    on_many.goto(f"{address}&min_score={cut:.4f}")
    _scroll_to_the_end(on_many)
    above = _shown(on_many)
    assert above == shown[: len(above)]
    assert 0 < len(above) < len(shown)
    assert _run(many, _download(on_many, "SQL")) == above


def test_the_exported_sql_of_an_upload_gives_what_is_shown(on_many: Page, many: Searchable) -> None:
    """The picture's vector is in the statement, also together with a further term."""
    on_many.goto("/")
    mine = {"name": "mine.png", "mimeType": "image/png", "buffer": many.pictures[5].png}
    on_many.locator("#file").set_input_files(mine)  # type: ignore[arg-type]
    expect(on_many.locator("#source")).to_contain_text("mine.png")
    _scroll_to_the_end(on_many)
    assert _run(many, _download(on_many, "SQL")) == _shown(on_many)
    on_many.get_by_label("Also search for, or away from").fill("sea")
    on_many.get_by_role("button", name="− less").click()
    expect(on_many.locator(".chip.away")).to_have_count(1)
    _scroll_to_the_end(on_many)
    assert _run(many, _download(on_many, "SQL")) == _shown(on_many)


def test_why_a_picture_is_here(on_many: Page, many: Searchable) -> None:
    """Its file's hash, row, commit and digest, the model's weights, the release and its run."""
    _open(on_many, "/?q=gold")
    on_many.locator(GRID).first.click()
    on_many.get_by_text("Why is this here?").click()
    why = on_many.locator(".why")
    expect(why).to_contain_text("commit.json")
    expect(why).to_contain_text("d" * 64)
    expect(why).to_contain_text(many.encoder.identity.weights)
    expect(why).to_contain_text("run-release")


def test_the_arrow_keys_move_between_pictures(on_many: Page) -> None:
    """In the grid and in the dialog; the slash goes to the search box."""
    _open(on_many, "/?q=gold")
    on_many.locator(GRID).first.focus()
    on_many.keyboard.press("ArrowRight")
    on_many.keyboard.press("Enter")
    shown = _shown(on_many)
    expect(on_many.get_by_role("dialog")).to_be_visible()
    assert _query(on_many)["show"] == [shown[1]]
    on_many.keyboard.press("ArrowRight")
    expect(on_many).to_have_url(re.compile("show=" + re.escape(shown[2].replace("/", "%2F"))))
    on_many.keyboard.press("Escape")
    expect(on_many.get_by_role("dialog")).to_be_hidden()
    expect(on_many.locator(GRID).nth(2)).to_be_focused()
    on_many.keyboard.press("ArrowDown")
    expect(on_many.locator(GRID).nth(2)).not_to_be_focused()
    on_many.keyboard.press("ArrowUp")
    on_many.keyboard.press("/")
    expect(on_many.get_by_role("searchbox")).to_be_focused()


def test_a_question_mark_lists_the_keys(on_many: Page) -> None:
    """So does a button; other keys do nothing meanwhile, and in the search box it is a letter."""
    _open(on_many, "/?q=gold")
    listed = on_many.get_by_role("dialog", name="Keys")
    on_many.get_by_role("searchbox").focus()
    on_many.keyboard.type("?")
    expect(on_many.get_by_role("searchbox")).to_have_value("gold?")
    on_many.locator(GRID).first.focus()
    on_many.keyboard.type("?")
    keys = {text for key in listed.locator("kbd").all() if (text := key.text_content())}
    assert keys == {*"/←→↑↓xrw?", "Enter", "Esc", "Shift"}
    on_many.keyboard.press("x")
    on_many.keyboard.press("Escape")
    expect(listed).to_be_hidden()
    expect(on_many.locator("#chosen")).to_have_text("")
    on_many.get_by_role("button", name="Keys").click()
    expect(listed).to_be_visible()


def test_two_releases_stand_side_by_side(on_many: Page, many: Searchable) -> None:
    """Chosen below the search box; the line says how much they have in common, and what only one
    has is marked, also on a phone. For a picture that only the earlier release has, the
    dialog shows that release."""
    _open(on_many, "/?q=gold")
    select = on_many.get_by_label("Compare with release")
    select.select_option(index=1)
    on_many.wait_for_selector("#other-grid img.seen")
    expect(on_many.locator("#other-grid > li")).to_have_count(10)
    expect(on_many.locator(GRID)).to_have_count(24)
    expect(on_many.locator("#status")).to_contain_text("% of both are the same")
    assert _query(on_many)["compare"]
    ours, theirs = (
        on_many.locator(f"{grid} > li > a").evaluate_all("links => links.map(link => link.href)")
        for grid in ("#grid", "#other-grid")
    )
    expect(on_many.locator("#grid .only")).to_have_count(len({*ours} - {*theirs}))
    expect(on_many.locator("#other-grid .only")).to_have_count(len({*theirs} - {*ours}))
    on_many.set_viewport_size({"width": 360, "height": 800})
    for chosen in on_many.locator("select:visible").all():
        box = chosen.bounding_box()
        assert box
        assert box["x"] + box["width"] <= 360
    on_many.set_viewport_size({"width": 1280, "height": 800})
    with psycopg.connect(many.dsn, autocommit=True) as connection:
        (gone,) = connection.execute(
            "DELETE FROM clip_assets.images_2 WHERE row = 5 RETURNING image_id"
        ).fetchone() or ("",)
    try:
        on_many.reload()
        on_many.locator(f"#other-grid a[href*='{web.quoted(gone)}']").click()
        on_many.get_by_text("Why is this here?").click()
        expect(on_many.locator(".why")).to_contain_text("in release 1.")
    finally:
        with psycopg.connect(many.dsn, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO clip_assets.images_2 SELECT * FROM clip_assets.images_1 WHERE row = 5"
            )


def test_a_link_restores_everything(browser: Browser, on_many: Page, many: Searchable) -> None:
    """In another browser: terms with weights, filters, cut-off, folding, the compared release and
    the open picture. The collection is shown by a test of its own."""
    place = {
        "q": "gold", "term": ["2 sea", "-0.25 @shapes/01-seagreen.png"], "words": "ellipse",
        "min_width": "60", "columns": '{"round":false}', "min_score": "-0.5", "fold": "1",
        "compare": "1",
    }  # fmt: skip
    _open(on_many, f"/?{urlencode(place, doseq=True)}")
    on_many.locator(GRID).nth(2).click()
    expect(on_many.get_by_role("dialog")).to_be_visible()
    shown = _shown(on_many)
    others = on_many.locator("#other-grid img").count()
    assert 3 <= len(shown) < PICTURES
    with watched(browser, many.url) as page:
        page.goto(on_many.url)
        expect(page.locator("#detail dd").nth(1)).to_have_text(shown[2])
        page.keyboard.press("Escape")
        page.wait_for_selector(f"{GRID} img.seen")
        assert _shown(page) == shown
        assert page.locator("#other-grid img").count() == others
        assert page.locator(".chip").all_text_contents() == [
            "+sea× 2✕", "−like 01-seagreen.png× 0.25✕",
        ]  # fmt: skip
        for name in ("q", "words", "min_width", "min_score", "fold", "compare"):
            expect(page.locator(f"#{name}")).to_have_value(str(place[name]))
        expect(page.get_by_label("round", exact=True)).to_have_value("0")


def test_a_service_with_keys_asks_for_one(
    browser: Browser, searchable: Searchable, tmp_path: Path
) -> None:
    """The page shows a field for it, and pictures once it is given; a wrong key is refused."""
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("me", "search")
    with running(settings(searchable.dsn, auth=True, keys=keys.path)) as url:
        headers = {"Authorization": f"Bearer {key}"}
        wait_until(lambda: web.get(f"{url}/readyz").status_code == 200, url)
        context = browser.new_context(base_url=url)
        page = context.new_page()
        page.set_default_timeout(PATIENT_MILLISECONDS)
        page.goto("/?q=gold")
        page.get_by_label("API key").fill("clip_wrong_key")
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_contain_text("invalid or was revoked")
        page.get_by_label("API key").fill(key)
        page.keyboard.press("Enter")
        page.wait_for_selector(f"{GRID} img.seen")
        expect(page.get_by_label("API key")).to_be_hidden()
        assert web.get(f"{url}/v1/release", headers=headers).status_code == 200
        context.close()


def test_filters_are_offered_for_declared_columns(page: Page, searchable: Searchable) -> None:
    """With their values or bounds; a change searches at once, and the address restores it."""
    page.goto("/?q=an+ellipse")
    page.wait_for_selector(f"{GRID} img.seen")
    page.get_by_text("Filter", exact=True).click()
    color = page.get_by_label("color", exact=True)
    expect(color.get_by_role("option")).to_have_text(["any", *sorted(COLORS), "not known"])
    color.select_option("gold")
    gold = {one.image_id for one in searchable.pictures if one.known["color"] == "gold"}
    expect(page.locator(GRID)).to_have_count(len(gold))
    assert set(_shown(page)) == gold
    page.get_by_label("number from").fill("4")
    page.keyboard.press("Enter")
    expect(page.locator(GRID)).to_have_count(1)
    assert json.loads(_query(page)["columns"][0]) == {"color": "gold", "number": {"min": 4}}
    page.reload()
    expect(page.locator(GRID)).to_have_count(1)
    expect(page.get_by_text("Filter · 2")).to_be_visible()
    expect(page.get_by_label("number from")).to_have_value("4")
    page.get_by_label("number from").fill("")
    color.select_option("not known")
    expect(page.locator(GRID)).to_have_count(1)
    assert _shown(page) == [searchable.pictures[0].image_id]


def test_near_duplicates_are_folded(page: Page, searchable: Searchable) -> None:
    """As by the API, as soon as it is chosen; the address restores it."""
    query = {"text": "an ellipse", "collapse_similar": 0.97}
    found = web.post(f"{searchable.url}/v1/search", json=query).json()["hits"]
    assert 0 < len(found) < len(searchable.pictures)
    page.goto("/?q=an+ellipse")
    page.wait_for_selector(f"{GRID} img.seen")
    page.get_by_text("Filter", exact=True).click()
    page.locator("#fold").select_option("near-duplicates")
    expect(page.locator(GRID)).to_have_count(len(found))
    assert _query(page)["fold"] == ["near"]
    page.reload()
    expect(page.locator(GRID)).to_have_count(len(found))
    expect(page.locator("#fold")).to_have_value("near")


def test_a_hit_is_judged_by_one_click_or_key(page: Page, searchable: Searchable) -> None:
    """Right, wrong and withdrawn, also without a mouse; a reload shows what was said. Hits of
    several terms are judged for all of them together, those of an uploaded picture cannot be."""
    address = f"{searchable.url}/v1/judgements"

    def said() -> list[tuple[str, str]]:
        return [(one["query_text"], one["verdict"]) for one in web.get(address).json()]

    page.goto("/?q=judge+me")
    page.wait_for_selector(f"{GRID} img.seen")
    first = page.locator("#grid > li").first
    first.hover()
    right = first.get_by_role("button", name="Right:")
    right.click()
    expect(right).to_have_attribute("aria-pressed", "true")
    assert said() == [("judge me", "right")]
    page.reload()
    expect(right).to_have_attribute("aria-pressed", "true")
    page.locator(GRID).first.focus()
    page.keyboard.press("w")
    expect(first.get_by_role("button", name="Wrong:")).to_have_attribute("aria-pressed", "true")
    assert said() == [("judge me", "wrong")]
    page.keyboard.press("w")
    expect(first.get_by_role("button", name="Wrong:")).to_have_attribute("aria-pressed", "false")
    assert said() == []
    page.goto("/?q=judge+me&term=-0.5+sea")
    page.wait_for_selector(f"{GRID} img.seen")
    page.locator(GRID).first.focus()
    page.keyboard.press("r")
    expect(right).to_have_attribute("aria-pressed", "true")
    (judged,) = web.get(address).json()
    assert [(term["text"], term["weight"]) for term in judged["query_terms"]] == [
        ("judge me", 1), ("sea", -0.5),
    ]  # fmt: skip
    page.reload()
    expect(right).to_have_attribute("aria-pressed", "true")
    right.click()
    expect(right).to_have_attribute("aria-pressed", "false")
    mine = {"name": "mine.png", "mimeType": "image/png", "buffer": searchable.pictures[0].png}
    page.locator("#file").set_input_files(mine)  # type: ignore[arg-type]
    expect(page.locator("#source")).to_contain_text("mine.png")
    page.wait_for_selector(f"{GRID} img.seen")
    expect(page.locator(".judge")).to_have_count(0)
