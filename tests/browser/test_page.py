"""The search page in a real browser."""

import io
import re
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests import web
from tests.integration.serving.support import Searchable, drawn, publish, wait_until

pytestmark = pytest.mark.browser

GRID = "#grid > li > a"


def _ask(page: Page, text: str) -> None:
    page.goto("/")
    page.get_by_role("searchbox").fill(text)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{GRID} img.seen")


def _shown(page: Page) -> list[str]:
    """Ids of the pictures in the grid, in order."""
    links = page.locator(GRID).evaluate_all("links => links.map(link => link.href)")
    return [parse_qs(urlsplit(link).query)["show"][0] for link in links]


def _query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_a_typed_query_shows_pictures(page: Page, searchable: Searchable) -> None:
    """Every picture is shown and loaded, each with its score."""
    _ask(page, "a gold ellipse")
    expect(page.locator(GRID)).to_have_count(len(searchable.pictures))
    images = page.locator("#grid img")
    for image in images.all():
        expect(image).to_have_js_property("complete", True)
    assert images.evaluate_all("images => images.every(image => image.naturalWidth > 0)")
    assert float(page.locator(".score").first.text_content() or "") <= 1
    assert _query(page) == {"q": ["a gold ellipse"]}


def test_a_filter_is_part_of_the_address(page: Page, searchable: Searchable) -> None:
    """A filter narrows the pictures, reloading the address restores it, and opening a picture
    keeps it."""
    _ask(page, "an ellipse")
    page.get_by_text("Filter", exact=True).click()
    page.get_by_label("Caption contains").fill("gold")
    page.keyboard.press("Enter")
    gold = [picture.image_id for picture in searchable.pictures if "gold" in str(picture.caption)]
    expect(page.locator(GRID)).to_have_count(len(gold))
    assert _query(page) == {"q": ["an ellipse"], "words": ["gold"]}
    assert set(_shown(page)) == set(gold)
    page.reload()
    expect(page.locator(GRID)).to_have_count(len(gold))
    expect(page.get_by_label("Caption contains")).to_have_value("gold")
    page.locator(GRID).first.click()
    expect(page.locator("#detail")).to_be_visible()
    assert _query(page)["words"] == ["gold"]


def test_the_page_names_the_release_it_searches(page: Page, searchable: Searchable) -> None:
    """It shows collection, size, model and date, and warns about an untrained model."""
    page.goto("/")
    expect(page.locator("#release")).to_contain_text("sample · 12 images")
    expect(page.locator("#release")).to_contain_text(searchable.encoder.identity.short)
    expect(page.locator("#warning")).to_be_visible()
    expect(page.locator("#warning")).to_have_text("untrained model: results are meaningless")


def test_the_start_page_shows_hits_of_the_examples(page: Page) -> None:
    """Before any search, pictures are shown below each example query."""
    page.goto("/")
    page.wait_for_selector(".shelf img.seen")
    page.get_by_role("link", name="a photo of a cloud").first.click()
    page.wait_for_selector(f"{GRID} img.seen")
    assert _query(page) == {"q": ["a photo of a cloud"]}


def test_a_picture_opens_with_its_lineage(page: Page) -> None:
    """The dialog shows run, shard, model and hash; the run links to the Dagster UI."""
    _ask(page, "a gold ellipse")
    page.locator(GRID).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("sample-000000, version 3")
    run = dialog.get_by_role("link", name="run-embed")
    expect(run).to_have_attribute("href", "http://dagster:3000/runs/run-embed")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page).to_have_url(re.compile(r"/\?q=[^&]*$"))


def test_more_like_this_searches_with_the_picture(page: Page, searchable: Searchable) -> None:
    """The dialog closes, the address names the picture, and the hits do not include it."""
    _ask(page, "a gold ellipse")
    first = _shown(page)[0]
    page.locator(GRID).first.click()
    page.get_by_role("link", name="More like this").click()
    expect(page.locator(GRID)).to_have_count(len(searchable.pictures) - 1)
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#source")).to_be_visible()
    assert _query(page) == {"like": [first]}
    assert first not in _shown(page)


def test_a_link_reproduces_the_view_in_a_new_window(page: Page) -> None:
    """The address of a query with an open picture restores both."""
    _ask(page, "a gold ellipse")
    page.locator(GRID).nth(2).click()
    title = page.locator("#detail-title").text_content()
    address, pictures = page.url, _shown(page)
    other = page.context.new_page()
    other.goto(address)
    expect(other.locator("#detail-title")).to_have_text(title or "")
    other.wait_for_selector(GRID, state="attached")
    assert _shown(other) == pictures
    other.keyboard.press("Escape")
    expect(other).to_have_url(re.compile(r"/\?q=[^&]*$"))
    expect(other.get_by_role("searchbox")).to_have_value("a gold ellipse")


def test_back_and_forward_revisit_each_view(page: Page) -> None:
    """Query, opened picture and similar pictures are steps of the history."""
    _ask(page, "a gold ellipse")
    page.locator(GRID).first.click()
    page.get_by_role("link", name="More like this").click()
    expect(page.locator("#source")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("searchbox")).to_have_value("a gold ellipse")
    page.go_forward()
    expect(page.get_by_role("dialog")).to_be_visible()


def test_forward_right_after_back_opens_the_picture_again(page: Page) -> None:
    """Nor does the browser's late `close` event close the dialog again."""
    _ask(page, "a gold ellipse")
    page.locator(GRID).first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.evaluate(
        """() => {
            const dialog = document.querySelector("dialog");
            addEventListener("popstate", () => history.forward(), {once: true});
            dialog.addEventListener("close", () => dialog.setAttribute("data-told", ""));
            history.back();
        }"""
    )
    page.wait_for_selector("dialog[data-told]", state="attached")
    expect(page).to_have_url(re.compile("&show="))
    expect(page.get_by_role("dialog")).to_be_visible()


def test_an_uploaded_picture_finds_its_original(page: Page, searchable: Searchable) -> None:
    """Choosing a file searches with it; the hits can be opened and closed, and survive "back"."""
    page.goto("/")
    picture = searchable.pictures[4]
    page.locator("#file").set_input_files(
        {"name": "mine.png", "mimeType": "image/png", "buffer": picture.png}
    )
    expect(page.locator("#source")).to_contain_text("mine.png")
    page.wait_for_selector(f"{GRID} img.seen")
    assert _shown(page)[0] == picture.image_id
    page.locator(GRID).first.click()
    expect(page.locator("#detail-title")).to_have_text(picture.caption or "")
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#source")).to_contain_text("mine.png")


def test_dropping_a_picture_searches_with_it(page: Page, searchable: Searchable) -> None:
    """A file may be dropped anywhere on the page."""
    page.goto("/")
    picture = searchable.pictures[5]
    page.evaluate(
        """bytes => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(bytes)], "dropped.png", {type: "image/png"}));
            document.body.dispatchEvent(
                new DragEvent("drop", {dataTransfer: files, bubbles: true, cancelable: true}));
        }""",
        list(picture.png),
    )
    expect(page.locator("#source")).to_contain_text("dropped.png")
    page.wait_for_selector(f"{GRID} img.seen")
    assert _shown(page)[0] == picture.image_id


def test_the_page_works_with_the_keyboard_alone(page: Page) -> None:
    """Typing a query, tabbing to a picture, opening and closing it need no mouse."""
    page.goto("/")
    page.keyboard.type("a gold ellipse")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{GRID} img.seen")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#grid') !== null"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert page.evaluate("document.activeElement.closest('#grid') !== null")


@pytest.mark.parametrize("width", [360, 768, 1920])
def test_the_page_never_scrolls_sideways(page: Page, width: int) -> None:
    """Its content fits the width of a phone, a tablet and a desktop."""
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("/", "/?q=ellipse", "/?q=ellipse&show=shapes/00-crimson.png"):
        page.goto(path)
        page.wait_for_selector("img.seen")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_photo_of_any_size_is_scaled_down_before_it_is_sent(
    page: Page, searchable: Searchable
) -> None:
    """A picture with more pixels than the service accepts finds its original."""
    picture = searchable.pictures[4]
    file = io.BytesIO()
    scale = 3000 // picture.image.width
    size = (picture.image.width * scale, picture.image.height * scale)
    picture.image.resize(size, Image.Resampling.BICUBIC).save(file, "PNG")
    page.goto("/")
    large = {"name": "large.png", "mimeType": "image/png", "buffer": file.getvalue()}
    with page.expect_request("**/v1/embed/image") as sent:
        page.locator("#file").set_input_files(large)  # type: ignore[arg-type]
    page.wait_for_selector(f"{GRID} img.seen")
    assert _shown(page)[0] == picture.image_id
    body = sent.value.post_data_buffer
    assert body is None or len(body) < 300_000


def test_a_text_beyond_the_context_says_how_much_was_read(page: Page) -> None:
    """The line above the pictures names the part that the model read."""
    _ask(page, "a gold ellipse on white paper " * 20)
    expect(page.locator("#status")).to_contain_text("which read only “a gold ellipse")


def test_another_collection_can_be_chosen(page: Page, searchable: Searchable) -> None:
    """The chosen collection is part of the address: its pictures are shown, opened and compared,
    and a reload stays there."""
    picture = drawn(30, caption="of the other collection")
    vectors = searchable.encoder.encode_images([picture.image])
    with psycopg.connect(searchable.dsn, autocommit=True) as connection:
        spec, identity = searchable.spec, searchable.encoder.identity
        publish(connection, spec, identity, [picture], vectors, collection="other")
    try:
        wait_until(
            lambda: len(web.get(f"{searchable.url}/v1/collections").json()) == 2, searchable.url
        )
        _ask(page, "a gold ellipse")
        page.get_by_role("combobox").select_option("other")
        expect(page.locator(GRID)).to_have_count(1)
        assert _shown(page) == [picture.image_id]
        assert _query(page) == {"q": ["a gold ellipse"], "collection": ["other"]}
        expect(page.locator("#release")).to_contain_text("other · 1 image ·")
        page.reload()
        expect(page.get_by_role("combobox")).to_have_value("other")
        page.locator(GRID).first.click()
        expect(page.locator("#detail-title")).to_have_text("of the other collection")
        page.get_by_role("link", name="More like this").click()
        expect(page.locator("#source")).to_contain_text("of the other collection")
        assert _query(page) == {"like": [picture.image_id], "collection": ["other"]}
        page.get_by_role("combobox").select_option("sample")
        expect(page.locator("#release")).to_contain_text("sample · 12 images")
        assert _query(page) == {}
    finally:
        with psycopg.connect(searchable.dsn, autocommit=True) as connection:
            connection.execute("DELETE FROM clip_assets.live WHERE collection = 'other'")
        wait_until(
            lambda: len(web.get(f"{searchable.url}/v1/collections").json()) == 1, searchable.url
        )
