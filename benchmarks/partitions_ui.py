"""How long Dagster's UI waits for its GraphQL requests with 5,000 shards, compared with 10.

    .venv/bin/python -m benchmarks.partitions_ui

Opens the pages in headless Chromium and times each GraphQL request they make, in two projects that
differ only in the number of materialized shards. Also times our own sensor, which lists every
shard. Needs Chromium.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from playwright.sync_api import Page, sync_playwright

from clip_assets.catalog import Catalog, Shard
from clip_assets.postgres import embedded
from clip_assets.source.config import FolderConfig
from clip_assets.store import paths
from clip_assets.store.objects import Objects
from tests.acceptance.dagster_api import Dagster
from tests.acceptance.dagster_project import dg_dev, environment, write_project
from tests.browser.conftest import ARGUMENTS
from tests.conftest import TINY

SIZES = (10, 5_000)
KEY = ("photos", "tiny_untrained_0_fp32", "embeddings")
PAGES = [
    "/asset-groups",
    "/assets/" + "/".join(KEY),
    "/assets/" + "/".join(KEY) + "?view=partitions",
    "/assets/" + "/".join(KEY) + "?view=checks",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=3, help="visits per page")
    visits = parser.parse_args().visits
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("Chromium is missing. Install the package `chromium`.")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)  # the embedded Postgres runs as another user
        database = embedded.start(root / "postgres", cleanup_mode="delete").get_uri()
        found = [visited(root / str(size), size, database, chromium, visits) for size in SIZES]
    few, many = found
    print(f"{'ms, median':<44}{SIZES[0]:>8}{SIZES[1]:>8}{'ratio':>8}")
    for operation in sorted(many, key=lambda name: -statistics.median(many[name])):
        both = [statistics.median(one.get(operation, [float("nan")])) for one in (few, many)]
        print(f"{operation:<44}{both[0]:8.0f}{both[1]:8.0f}{both[1] / both[0]:8.1f}")


def visited(
    folder: Path, shards: int, database: str, chromium: str, visits: int
) -> dict[str, list[float]]:
    """Milliseconds of each request, by its name, over all visits to all pages."""
    with project(folder, shards, database) as dagster, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        times: dict[str, list[float]] = defaultdict(list)
        page.on("requestfinished", lambda request: note(times, request))
        for _ in range(visits):
            for path in PAGES:
                settle(page, f"{dagster.url}{path}")
            began = time.perf_counter()
            dagster.dry_run_sensor("photos_tiny_untrained_0_fp32_missing_shards")
            times["(ours) sensor missing_shards"].append((time.perf_counter() - began) * 1_000)
        browser.close()
        return times


def settle(page: Page, url: str) -> None:
    page.goto(url, timeout=300_000)
    page.wait_for_load_state("networkidle", timeout=300_000)
    page.wait_for_timeout(1_500)  # requests that follow the page's first responses


def note(times: dict[str, list[float]], request: object) -> None:
    timing, body = request.timing, request.post_data_json  # type: ignore[attr-defined]
    if "/graphql" in request.url and body:  # type: ignore[attr-defined]
        times[body["operationName"]].append(timing["responseEnd"] - timing["requestStart"])


@contextmanager
def project(folder: Path, shards: int, database: str) -> Iterator[Dagster]:
    """A collection whose catalog lists this many shards, each with a materialization."""
    written = write_project(
        folder / "project",
        {
            "collection": "photos",
            "source": {"type": "folder", "uri": str(folder)},
            "model": {"name": TINY, "untrained_seed": 0},
            "automate": False,
        },
    )
    env = environment(folder / "home", database)
    keys = [f"{number:05d}" for number in range(shards)]
    head = Catalog(
        collection="photos",
        source=FolderConfig(uri=str(folder)),
        listing="made up",
        shards=tuple(Shard(shard=k, version=1, digest="d", rows=1, live=1) for k in keys),
    )
    Objects(str(folder / "home/data/photos")).put(paths.CATALOG, head.model_dump_json().encode())
    with dg.DagsterInstance.from_config(env["DAGSTER_HOME"]) as instance:
        instance.add_dynamic_partitions("photos_shards", keys)
        for key in keys:
            metadata = {"rows": 1, "note": "x" * 200}
            event = dg.AssetMaterialization(dg.AssetKey(KEY), partition=key, metadata=metadata)
            instance.report_runless_asset_event(event)
    with dg_dev(written, env, folder / "dg_dev.log") as dagster:
        yield dagster


if __name__ == "__main__":
    main()
