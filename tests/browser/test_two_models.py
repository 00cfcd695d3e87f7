"""Side by side with a release of another model, which the service loads when it is asked for."""

import re
import threading
from collections.abc import Callable

import psycopg
from playwright.sync_api import Browser, expect

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from serving.encoder import Model
from serving.loading import load_model
from tests import web
from tests.browser.conftest import PATIENT_MILLISECONDS
from tests.integration.serving.support import drawn, publish, running, settings, wait_until_ready


def test_the_page_waits_for_the_other_model(
    browser: Browser, new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """It says that the model is being loaded, tries again by itself, and then shows both; then also
    for a picture, of which each model makes its own vector."""
    later = tiny_spec.model_copy(update={"untrained_seed": 8})
    other = load_model(later, "cpu")
    assert isinstance(other, Encoder)
    pictures = [drawn(number) for number in range(8)]
    dsn, may_load = new_database(), threading.Event()
    with psycopg.connect(dsn, autocommit=True) as connection:
        for spec, model in ((tiny_spec, tiny), (later, other)):
            vectors = model.encode_images([picture.image for picture in pictures])
            publish(connection, spec, model.identity, pictures, vectors)

    def load(spec: ModelSpec, device: str | None) -> Model:
        assert spec == later or may_load.wait(600)
        return load_model(spec, device)

    with running(settings(dsn), load) as url:
        wait_until_ready(url)
        # Not `watched`: the browser itself logs each 503.
        context = browser.new_context(base_url=url)
        page = context.new_page()
        page.set_default_timeout(PATIENT_MILLISECONDS)
        page.goto("/?q=gold&compare=1")
        expect(page.locator("#status")).to_have_text(
            "The model of release 1 is being loaded. Trying again…"
        )
        may_load.set()
        expect(page.locator("#other-grid > li")).to_have_count(8)
        expect(page.locator("#other-title")).to_contain_text(tiny.identity.short)
        mine = {"name": "mine.png", "mimeType": "image/png", "buffer": pictures[3].png}
        page.locator("#file").set_input_files(mine)  # type: ignore[arg-type]
        expect(page.locator("#source")).to_contain_text("mine.png")
        for grid in ("#grid", "#other-grid"):
            first = page.locator(f"{grid} > li > a").first
            expect(first).to_have_attribute("href", re.compile(web.quoted(pictures[3].image_id)))
        context.close()
