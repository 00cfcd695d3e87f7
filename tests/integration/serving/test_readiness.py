"""When the service is ready, which release it serves, and what it says while it is not ready."""

import gc
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from clip_assets.model import ModelIdentity, ModelSpec
from clip_assets.node.encoder import Encoder
from clip_assets.postgres.migrate import migrations
from serving.encoder import Model
from serving.loading import load_model
from tests import web
from tests.integration.serving.support import (
    IMPATIENT,
    Searchable,
    drawn,
    publish,
    readiness,
    running,
    settings,
    wait_until,
    wait_until_ready,
    wait_until_unready,
)

PICTURES = [drawn(number) for number in range(12)]


def _publish(dsn: str, encoder: Encoder, spec: ModelSpec, identity: ModelIdentity) -> None:
    vectors = encoder.encode_images([picture.image for picture in PICTURES])
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, spec, identity, PICTURES, vectors)


def _model(url: str) -> str:
    model: str = web.get(f"{url}/v1/release").json()["model"]
    return model


def test_a_ready_service_names_its_release(searchable: Searchable) -> None:
    """It gives model, rows and ef_search of the live release."""
    healthy = {"ready": True, "problems": {}, "pending": None, "degraded": None}
    assert readiness(searchable.url) == (200, healthy)
    release = web.get(f"{searchable.url}/v1/release").json()
    assert release["model"] == searchable.encoder.identity.short
    assert release["identity"]["weights"] == searchable.encoder.identity.weights
    assert (release["rows"], release["ef_search"]) == (12, 40)
    assert release["warning"]


def test_a_service_becomes_ready_with_the_first_release(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """Before: alive, unready with the remedy, and searches get 503. After: ready by itself."""
    dsn = new_database()
    with running(settings(dsn, refresh_seconds=0.1)) as url:
        status, answer = readiness(url)
        assert (status, answer["ready"]) == (503, False)
        assert web.get(f"{url}/livez").status_code == 200
        wait_until_unready(url, "Materialize")
        response = web.post(f"{url}/v1/search", json={"text": "x"})
        assert response.status_code == 503
        assert response.headers["retry-after"] == "2"
        assert "Materialize" in response.json()["detail"]
        _publish(dsn, tiny, tiny_spec, tiny.identity)
        wait_until_ready(url)


@pytest.mark.promise("Queries always use the model that made the index")
def test_a_model_that_did_not_make_the_release_is_refused(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """A query encoded by other weights never reaches the database, and the error says why."""
    dsn = new_database()
    _publish(dsn, tiny, tiny_spec, tiny.identity.model_copy(update={"weights": "f" * 64}))
    with running(settings(dsn, refresh_seconds=0.1)) as url:
        wait_until_unready(url, "The loaded model differs from that of release 1")
        response = web.post(f"{url}/v1/search", json={"text": "x"})
        assert response.status_code == 503
        assert tiny.identity.weights in response.json()["detail"]


def test_the_old_release_answers_while_a_new_model_loads(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """Once the new model is loaded, model and release switch together."""
    dsn, may_load = new_database(), threading.Event()
    other = tiny_spec.model_copy(update={"untrained_seed": 8})

    def load(spec: ModelSpec, device: str | None) -> Model:
        if spec == other:
            may_load.wait(600)
        return load_model(spec, device)

    _publish(dsn, tiny, tiny_spec, tiny.identity)
    with running(settings(dsn, refresh_seconds=0.1), load) as url:
        wait_until_ready(url)
        second = load_model(other, "cpu")
        assert isinstance(second, Encoder)
        _publish(dsn, second, other, second.identity)
        for _ in range(10):
            answer = web.post(f"{url}/v1/search", json={"text": "x"}).json()
            assert answer["release"]["model"] == tiny.identity.short
        wait_until(lambda: "is being loaded" in str(readiness(url)[1]["pending"]), url)
        assert readiness(url)[0] == 200
        may_load.set()
        wait_until_ready(url, model=second.identity.short)
        assert _model(url) == second.identity.short
        answer = web.post(f"{url}/v1/search", json={"text": "x"}).json()
        assert answer["release"]["model"] == second.identity.short


def test_no_answer_fails_or_mixes_models_while_releases_switch(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """While eight clients search and the release switches between two models, every answer equals
    the one its release gives when idle: none fails, none is empty, none mixes models."""
    dsn, quiet = new_database(), {}
    answers: Counter[tuple[int, str]] = Counter()
    wrong: Counter[str] = Counter()
    other = tiny_spec.model_copy(update={"untrained_seed": 8})
    second = load_model(other, "cpu")
    assert isinstance(second, Encoder)

    def ask(client: httpx.Client) -> tuple[int, str, list[str]]:
        response = client.post("/v1/search", json={"text": "a gold ellipse", "k": 5})
        answer = response.raise_for_status().json()
        live = answer["release"]
        return live["id"], live["model"], [hit["image_id"] for hit in answer["hits"]]

    def ask_on(url: str, stop: threading.Event) -> None:
        with httpx.Client(base_url=url, timeout=120) as client:
            while not stop.is_set():
                try:
                    number, model, hits = ask(client)
                except httpx.HTTPError as error:
                    wrong[f"failed: {error}"] += 1
                    continue
                wrong["empty"] += not hits
                wrong["mixed"] += (model, hits) != quiet[number]
                answers[number, model] += 1

    with running(settings(dsn, refresh_seconds=0.1)) as url, httpx.Client(base_url=url) as client:
        for encoder, spec in ((tiny, tiny_spec), (second, other)):
            _publish(dsn, encoder, spec, encoder.identity)
            wait_until_ready(url, model=encoder.identity.short)
            number, model, hits = ask(client)
            quiet[number] = (model, hits)
        assert len({tuple(hits) for _, hits in quiet.values()}) == 2
        stop = threading.Event()
        with (
            ThreadPoolExecutor(8) as clients,
            psycopg.connect(dsn, autocommit=True) as connection,
        ):
            running_clients = [clients.submit(ask_on, url, stop) for _ in range(8)]
            try:
                for number in [*quiet] * 4:
                    connection.execute("UPDATE clip_assets.live SET release_id = %s", [number])
                    wait_until_ready(url, release=number)
            finally:
                stop.set()
            for one in running_clients:
                one.result()
    for (number, model), count in sorted(answers.items()):
        print(f"release {number} by {model}: {count} answers; wrong: {dict(wrong)}")
    assert not +wrong
    assert {number for number, _ in answers} == set(quiet)


def test_a_refreshed_release_of_the_same_model_needs_no_loading(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """Only the release changes; the loaded model stays."""
    dsn, loads = new_database(), []

    def load(spec: ModelSpec, device: str | None) -> Model:
        loads.append(spec)
        return load_model(spec, device)

    _publish(dsn, tiny, tiny_spec, tiny.identity)
    with running(settings(dsn, refresh_seconds=0.1), load) as url:
        wait_until_ready(url)
        before = web.get(f"{url}/v1/release").json()["id"]
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO clip_assets.release (collection, index_id, content, ef_search, rows, "
                "judgement, run_id) SELECT collection, index_id, content, 64, rows, judgement, "
                "run_id FROM clip_assets.release"
            )
            connection.execute("UPDATE clip_assets.live SET release_id = release_id + 1")
        wait_until_ready(url, release=before + 1)
        assert loads == [tiny_spec]


def test_after_an_update_that_decodes_otherwise_texts_are_answered(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """Uploads are refused, with the command that embeds the collection again. Once that is
    released, they are answered, too."""
    dsn = new_database()
    older = tiny.identity.model_copy(update={"decode": 1, "preprocess": "c" * 64})
    _publish(dsn, tiny, tiny_spec, older)
    with running(settings(dsn, refresh_seconds=0.1)) as url:
        wait_until_ready(url)
        text = web.post(f"{url}/v1/search", json={"text": "gold"}).json()
        assert len(text["hits"]) == len(PICTURES)
        like = web.post(f"{url}/v1/search", json={"image_id": text["hits"][0]["image_id"]})
        assert like.status_code == 200
        embedded = web.post(f"{url}/v1/embed", json={"texts": ["gold"]}).json()
        assert embedded["identity_key"] == older.key
        for route in ("search/image", "embed/image"):
            refused = web.post(f"{url}/v1/{route}", files={"file": ("x", PICTURES[0].png)})
            assert refused.status_code == 422
            command = "`clip-assets backfill sample --shards all --again`"
            assert command in refused.json()["detail"]
        _publish(dsn, tiny, tiny_spec, tiny.identity)
        wait_until_ready(url, release=text["release"]["id"] + 1)
        found = web.post(f"{url}/v1/search/image", files={"file": ("x", PICTURES[0].png)}).json()
        assert found["hits"][0]["image_id"] == PICTURES[0].image_id


def test_a_model_that_failed_to_load_is_tried_again(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """Meanwhile readiness says why, without the text of an unexpected error."""
    dsn, attempts = new_database(), []

    def load(spec: ModelSpec, device: str | None) -> Model:
        attempts.append(spec)
        if len(attempts) == 1:
            raise RuntimeError("secret path")
        return load_model(spec, device)

    _publish(dsn, tiny, tiny_spec, tiny.identity)
    with running(settings(dsn, refresh_seconds=0.1, load_retry_seconds=4), load) as url:
        wait_until_unready(url, "the model could not be loaded")
        assert "secret" not in str(readiness(url))
        wait_until_ready(url)
    assert len(attempts) == 2


def test_a_database_without_an_index_says_what_to_do(new_database: Callable[[], str]) -> None:
    """Missing tables give another message than a database that does not answer."""
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA clip_assets CASCADE")
    with running(settings(dsn, **IMPATIENT)) as url:
        wait_until_unready(url, "Materialize `release`")


def test_another_schema_than_this_version_reads(new_database: Callable[[], str]) -> None:
    """The service names the remedy for an older or newer schema, at the start or while it runs, and
    recovers by itself once the versions match."""
    dsn, latest = new_database(), migrations()[-1].number
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM clip_assets.migration WHERE number = %s", [latest])
        with running(settings(dsn, **IMPATIENT)) as url:
            wait_until_unready(url, "run `clip-assets migrate`")
            connection.execute("INSERT INTO clip_assets.migration VALUES (%s, '', '')", [latest])
            wait_until_unready(url, "Nothing is released yet")
            connection.execute("INSERT INTO clip_assets.migration VALUES (999, '', '')")
            connection.execute("ALTER TABLE clip_assets.release RENAME comparison TO later")
            wait_until_unready(url, f"only knows migrations up to {latest}: upgrade clip_assets")


def test_full_garbage_collections_skip_what_stays_in_memory(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """Half a million objects, which would stop every answer for a quarter of a second; after the
    service they are collected again."""
    dsn = new_database()
    _publish(dsn, tiny, tiny_spec, tiny.identity)
    with running(settings(dsn), freezes=True) as url:
        wait_until_ready(url)
        assert gc.get_freeze_count() > len(gc.get_objects())
    assert gc.get_freeze_count() == 0
