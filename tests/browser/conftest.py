"""Chromium from the system's packages, and the service that the serving tests use."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.integration.serving.conftest import searchable, tiny
from tests.integration.serving.support import Searchable

__all__ = ["browser", "page", "searchable", "tiny"]

PATIENT_MILLISECONDS = 120_000  # a busy machine takes its time
expect.set_options(timeout=PATIENT_MILLISECONDS)

_CONTEXTS: WeakKeyDictionary[Browser, dict[str, BrowserContext]] = WeakKeyDictionary()

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")  # while Playwright is open its event loop blocks asyncio's own
def browser() -> Iterator[Browser]:
    found = (shutil.which(name) for name in PROGRAMS)
    chromium = next((path for path in found if path), None)
    if chromium is None:
        pytest.skip("THE PAGE IS NOT TESTED: Chromium is missing. Install the package `chromium`.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def watched(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """A new page at `url`; fails if the browser logs anything, such as an error of a script or of
    the content security policy, or opens a dialog."""
    context = _context(browser, url, {"viewport": {"width": 1280, "height": 800}} | options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.set_default_timeout(PATIENT_MILLISECONDS)
    yield page
    for opened in context.pages[1:]:
        opened.close()
    assert complaints == []


def _context(browser: Browser, url: str, options: dict[str, Any]) -> BrowserContext:
    """A context whose first tab stays open at `url`: other tabs share its process, whose start
    takes half a second of processor time. The page keeps nothing in a browser, so tests may."""
    contexts = _CONTEXTS.setdefault(browser, {})
    key = repr((url, options))
    if key not in contexts:
        contexts[key] = browser.new_context(base_url=url, **options)
        contexts[key].new_page().goto(f"{url.rstrip('/')}/livez")
    return contexts[key]


@pytest.fixture
def page(browser: Browser, searchable: Searchable) -> Iterator[Page]:
    """A new page of the service that all share."""
    with watched(browser, searchable.url) as page:
        yield page
