"""The page without a mouse, without colours and with a screen reader, as axe checks it."""

from collections.abc import Iterator
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENT_MILLISECONDS
from tests.integration.serving.support import Searchable

pytestmark = pytest.mark.browser

GRID = "#grid > li > a"
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
Scheme = Literal["light", "dark"]


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> Scheme:
    found: Scheme = request.param
    return found


@pytest.fixture(params=SIZES)
def sized(
    request: pytest.FixtureRequest, browser: Browser, searchable: Searchable, scheme: Scheme
) -> Iterator[Page]:
    width, height = SIZES[request.param]
    context = browser.new_context(
        base_url=searchable.url,
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        reduced_motion="reduce",  # axe would measure colours in the middle of a transition
    )
    page = context.new_page()
    page.set_default_timeout(PATIENT_MILLISECONDS)
    yield page
    context.close()


def test_axe_finds_nothing_serious(sized: Page) -> None:
    """At the start, over results with filters, and over an open picture; nothing is wider than the
    screen."""
    sized.goto("/")
    sized.wait_for_selector(".shelf img.seen")
    _require_accessible(sized)
    sized.goto("/?q=gold&min_width=1&term=-0.5+sea")
    sized.wait_for_selector(f"{GRID} img.seen")
    expect(sized.get_by_text("Filter · 1")).to_be_visible()
    sized.evaluate("document.querySelector('#filter').open = true")
    expect(sized.locator("#declared select").first).to_be_visible()
    _require_accessible(sized)
    sized.goto("/?q=gold")
    sized.wait_for_selector(".judge button")
    sized.locator(GRID).first.click()
    expect(sized.get_by_role("dialog")).to_be_visible()
    _require_accessible(sized)


def _require_accessible(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    serious = [
        (one["id"], [node["html"] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
    wide, screen = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= screen
