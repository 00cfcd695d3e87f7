"""DELETE of an image: through the same steps as `clip-assets erase`, for an admin's key alone."""

import shutil
from pathlib import Path

import pytest

from clip_assets.keys import KeyFile
from clip_assets.store import erased
from serving.client import Client, ProblemError
from serving.query import SearchRequest
from serving.settings import ServingSettings
from tests.integration.photos import (
    COPY,
    ERASED,
    OTHER,
    Photos,
    database,
    embedded,
    photos,
    published,
)
from tests.integration.serving.support import (
    PATIENT,
    Searchable,
    readiness,
    running,
    settings,
    wait_until,
)

__all__ = ["database", "embedded", "photos", "published"]


def test_an_admin_erases_an_image(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is the receipt, which names the key; the image and its copy are gone from answers,
    and asking again gives the same receipt. Without the files, nothing is erased."""
    data = tmp_path / "data"
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(tmp_path / "elsewhere"))
    keys = KeyFile(tmp_path / "keys.json")
    admin, judge = keys.add("ann", "admin"), keys.add("ben", "judge")
    asking = ServingSettings(_env_file=None, auth=True, keys=keys.path, **PATIENT)
    with running(asking) as url:
        wait_until(lambda: readiness(url)[0] == 200, url)
        with Client(url, judge, timeout=120) as client, pytest.raises(ProblemError, match="admin"):
            client.erase(ERASED)
        with Client(url, admin, timeout=120) as client:
            with pytest.raises(ProblemError, match="not_found"):
                client.erase("none")
            with pytest.raises(ProblemError, match="Not erased here") as refused:
                client.erase(ERASED)
            assert refused.value.problem.code == "read_only"
            assert client.image(ERASED).image_id == ERASED
            shutil.move(data, tmp_path / "elsewhere")
            receipt = client.erase(ERASED).receipt
            assert receipt
            assert "API key ann" in receipt.request.reason
            assert {image.image_id for image in receipt.images} == {ERASED, COPY}
            found = client.search(SearchRequest(image_id=OTHER, k=100, accuracy="exact")).hits
            assert not {hit.image_id for hit in found} & {ERASED, COPY}
            assert client.erase(ERASED).receipt == receipt
            with pytest.raises(ProblemError, match="not_found"):
                client.image(ERASED)
    stored = erased.receipts(photos.objects.__class__(str(tmp_path / "elsewhere" / "photos")))
    assert stored == [receipt]


def test_who_may_not_erase(searchable: Searchable, tmp_path: Path) -> None:
    """A service without keys erases for nobody, and one that knows only a database says who can."""
    picture = searchable.pictures[0].image_id
    with Client(searchable.url, timeout=120) as client, pytest.raises(ProblemError) as refused:
        client.erase(picture)
    assert (refused.value.problem.status, refused.value.problem.code) == (403, "forbidden")
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("ann", "admin")
    with running(settings(searchable.dsn, auth=True, keys=keys.path)) as url:
        wait_until(lambda: readiness(url)[0] == 200, url)
        with Client(url, key, timeout=120) as client, pytest.raises(ProblemError) as refused:
            client.erase(picture)
    assert refused.value.problem.code == "read_only"
    assert "clip-assets erase sample" in refused.value.problem.detail
