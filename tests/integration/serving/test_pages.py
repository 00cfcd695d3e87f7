"""Pages of hits, accuracy, and what each hit has besides."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from tests import web
from tests.integration.serving.support import (
    Searchable,
    drawn,
    publish,
    running,
    settings,
    wait_until_ready,
)

COPIES = 5


@pytest.fixture(scope="module")
def many(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> Iterator[Searchable]:
    """Twenty pictures, each five times under different ids, so that many scores are equal."""
    pictures = [
        replace(drawn(number), image_id=f"{copy}/{number}")
        for number in range(20)
        for copy in range(COPIES)
    ]
    vectors = tiny.encode_images([picture.image for picture in pictures])
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, tiny_spec, tiny.identity, pictures, vectors)
    with running(settings(dsn)) as url:
        wait_until_ready(url)
        yield Searchable(url, pictures, tiny, dsn, tiny_spec)


def _search(service: Searchable, **query: object) -> dict[str, Any]:
    response = web.post(f"{service.url}/v1/search", json=query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def _ids(answer: dict[str, Any]) -> list[str]:
    return [hit["image_id"] for hit in answer["hits"]]


def _refused(service: Searchable, **query: object) -> tuple[int, str]:
    response = web.post(f"{service.url}/v1/search", json=query)
    return response.status_code, response.json()["detail"]


def _pages(service: Searchable, **query: Any) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        answer = _search(service, **query, cursor=cursor)
        pages.append(_ids(answer))
        assert answer["complete"] is True
        cursor = answer["cursor"]
        if cursor is None:
            return pages


@pytest.mark.parametrize("k", [7, 25, 50])
def test_pages_together_are_the_whole_answer(many: Searchable, k: int) -> None:
    """Every image once, in the order of one large answer, though most scores are not unique; only
    the last page has no cursor."""
    whole = _search(many, text="a gold ellipse", k=1000, accuracy="exact")
    assert whole["cursor"] is None
    assert len(whole["hits"]) == len(many.pictures)
    pages = _pages(many, text="a gold ellipse", k=k, accuracy="exact")
    assert [image_id for page in pages for image_id in page] == _ids(whole)
    assert all(len(page) == k for page in pages[:-1])
    assert pages[-1]


def test_pages_leave_out_what_the_query_leaves_out(many: Searchable) -> None:
    """Copies of an image on an earlier page, excluded images, and those below the score."""
    query = {"terms": [{"image_id": "0/3"}], "exclude_ids": ["0/0"], "collapse_duplicates": True}
    whole = _search(many, **query, k=1000)
    assert len(whole["hits"]) == 20
    query["min_score"] = whole["hits"][9]["score"] - 1e-6
    pages = _pages(many, **query, k=4)
    assert [len(page) for page in pages] == [4, 4, 2]
    assert [image_id for page in pages for image_id in page] == _ids(whole)[:10]


def _unlike(vectors: NDArray[np.float64], limit: float) -> list[int]:
    kept: list[int] = []
    for row, vector in enumerate(vectors):
        if not kept or (vectors[kept] @ vector).max() < limit:
            kept.append(row)
    return kept


def test_near_duplicates_are_folded(many: Searchable) -> None:
    """An image that is similar to a nearer hit is left out, on its page and on later ones."""
    asked = {"text": "gold", "accuracy": "exact", "include": ["vector"]}
    every = _search(many, **asked, k=1000)["hits"]
    vectors = np.array([hit["vector"] for hit in every])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = np.unique((vectors @ vectors.T).round(5))
    found = found[found > 0.8]
    # The widest gap between two similarities: no rounding decides about what is so far from it.
    gaps = np.argsort(-np.diff(found))
    limits = ((found[gap] + found[gap + 1]) / 2 for gap in gaps)
    limit = next(one for one in limits if 3 < len(_unlike(vectors, one)) < len(every) / COPIES)
    expected = [every[row]["image_id"] for row in _unlike(vectors, limit)]
    assert _ids(_search(many, **asked, k=1000, collapse_similar=limit)) == expected
    pages = _pages(many, **asked, k=2, collapse_similar=limit)
    assert [image_id for page in pages for image_id in page] == expected


def test_the_page_size_may_change_from_page_to_page(many: Searchable) -> None:
    """All else belongs to the cursor."""
    first = _search(many, text="gold", k=3, accuracy="exact")
    second = _search(many, text="gold", k=30, accuracy="exact", cursor=first["cursor"])
    whole = _search(many, text="gold", k=33, accuracy="exact")
    assert _ids(first) + _ids(second) == _ids(whole)


class Rounding(Encoder):
    """Encodes each text a little differently every time, as another batch or machine does."""

    def __init__(self, encoder: Encoder) -> None:
        self.__dict__ = encoder.__dict__
        self.chance = np.random.default_rng(0)

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = super().encode_text(texts)
        noise = self.chance.normal(0, 1e-4, vectors.shape).astype(np.float32)
        return vectors + noise


def test_pages_go_on_where_they_ended_though_the_text_is_encoded_anew(
    many: Searchable, tiny: Encoder
) -> None:
    """The cursor has the vector that was searched for: no image comes twice and none is missing
    when another worker, batch or machine encodes the text for the next page."""
    model = Rounding(tiny)
    with running(settings(many.dsn, text_cache=0), lambda *_: model) as url:
        wait_until_ready(url)
        service = replace(many, url=url)
        pages = _pages(service, text="a gold ellipse", k=7, accuracy="exact")
    seen = [image_id for page in pages for image_id in page]
    assert sorted(seen) == sorted(picture.image_id for picture in many.pictures)


def test_a_cursor_of_another_query_is_refused(many: Searchable) -> None:
    """So is text that is no cursor; the message says so."""
    cursor = _search(many, text="gold", k=3)["cursor"]
    assert _refused(many, text="silver", cursor=cursor) == (
        422, "cursor: it belongs to another query; only `k` may change.",
    )  # fmt: skip
    head = cursor.split(".")[0]
    zeros = f"{head}.{'A' * (len(cursor) - len(head) - 1)}"
    for wrong in ("", "x", "bnVsbA", "W10", "é", cursor[:-4], head, f"{head}.A", zeros):
        status, detail = _refused(many, text="gold", k=3, cursor=wrong)
        if wrong:
            assert (status, detail.split(":")[0]) == (422, "cursor"), wrong


def test_a_cursor_stays_with_its_release(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """After another release went live, further pages still come from the first; once its index is
    dropped, they are refused."""
    pictures = [drawn(number) for number in range(8)]
    vectors = tiny.encode_images([picture.image for picture in pictures])
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, tiny_spec, tiny.identity, pictures, vectors)
        with running(settings(dsn)) as url:
            wait_until_ready(url)
            service = Searchable(url, pictures, tiny, dsn, tiny_spec)
            whole = _ids(_search(service, text="gold", k=8))
            first = _search(service, text="gold", k=3)
            connection.execute("UPDATE clip_assets.index SET identity_key = 'before'")
            publish(connection, tiny_spec, tiny.identity, pictures[:1], vectors[:1])
            newest = connection.execute("SELECT max(release_id) FROM clip_assets.live").fetchone()
            assert newest
            wait_until_ready(url, release=newest[0])
            assert len(_search(service, text="gold")["hits"]) == 1
            rest = _search(service, text="gold", k=8, cursor=first["cursor"])
            assert _ids(first) + _ids(rest) == whole
            assert rest["release"]["id"] == first["release"]["id"]

            listed = web.get(f"{url}/v1/releases").json()
            assert [(one["id"], one["live"], one["searchable"]) for one in listed] == [
                (newest[0], True, True), (first["release"]["id"], False, True),
            ]  # fmt: skip
            both = {"query": {"text": "gold", "k": 4}, "releases": [one["id"] for one in listed]}
            compared = web.post(f"{url}/v1/compare", json=both).json()
            assert [len(answer["hits"]) for answer in compared["answers"]] == [1, 4]
            assert compared["overlap"] in (0, 0.25)

            connection.execute("UPDATE clip_assets.release SET dropped_at = now() WHERE rows = 8")
            query = {"text": "gold", "k": 8, "cursor": first["cursor"]}
            gone = web.post(f"{url}/v1/search", json=query)
            assert gone.status_code == 404
            assert "whose index still exists" in gone.json()["detail"]


def test_an_upload_has_pages_too(many: Searchable) -> None:
    """The cursor belongs to the file."""
    url = f"{many.url}/v1/search/image"
    form = {"k": "30", "accuracy": "exact"}
    files = {"file": ("x", many.pictures[3].png)}
    first = web.post(url, files=files, data=form).json()
    second = web.post(url, files=files, data=form | {"cursor": first["cursor"]}).json()
    assert len({*_ids(first), *_ids(second)}) == 60
    other = {"file": ("x", many.pictures[10].png)}
    refused = web.post(url, files=other, data=form | {"cursor": first["cursor"]})
    assert refused.status_code == 422


def test_exact_search_compares_all_images(searchable: Searchable) -> None:
    """Its recall is 1, and its hits are those of a brute-force comparison."""
    stored = searchable.encoder.encode_images([picture.image for picture in searchable.pictures])
    scores = stored @ searchable.encoder.encode_text(["gold"])[0]
    answer = _search(searchable, text="gold", k=1000, accuracy="exact")
    found = [hit["score"] for hit in answer["hits"]]
    assert found == pytest.approx(sorted(scores, reverse=True), abs=2e-3)
    assert (answer["accuracy"], answer["measured_recall"]["lower"]) == ("exact", 1)


def test_an_answer_gives_the_recall_that_was_measured(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """By kind of query and by accuracy, with its lower bound; under a filter the lowest one."""

    def recall(mean: float) -> dict[str, float]:
        return {"k": 10, "queries": 100, "mean": mean, "lower": mean - 0.02}

    def rung(ef_search: int, text: float, image: float, **others: object) -> dict[str, object]:
        return {"ef_search": ef_search, "text": recall(text), "image": recall(image), **others}

    filtered = [{"share": 0.1, "plan": "hnsw", "text": recall(0.97), "image": recall(0.999)}]
    judgement = {
        "below": [rung(10, 0.8, 0.95), rung(20, 0.92, 0.96)],
        "ladder": [rung(40, 0.99, 0.995, filtered=filtered)],
    }
    pictures = [drawn(number) for number in range(3)]
    vectors = tiny.encode_images([picture.image for picture in pictures])
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, tiny_spec, tiny.identity, pictures, vectors)
        connection.execute("UPDATE clip_assets.release SET judgement = %s", [Jsonb(judgement)])
    with running(settings(dsn)) as url:
        wait_until_ready(url)
        service = Searchable(url, pictures, tiny, dsn, tiny_spec)

        def measured(**query: object) -> float:
            lower: float = _search(service, **query)["measured_recall"]["lower"]
            return lower

        image_id = pictures[0].image_id
        assert measured(text="a") == pytest.approx(0.97)
        assert measured(image_id=image_id) == pytest.approx(0.975)
        assert measured(text="a", accuracy="fast") == pytest.approx(0.90)
        assert measured(text="a", filter={"min_width": 1}) == pytest.approx(0.95)
        assert measured(image_id=image_id, filter={"min_width": 1}) == pytest.approx(0.975)


def test_hits_have_what_was_asked_for(searchable: Searchable) -> None:
    """Lineage unless another choice is made; vectors are the stored ones."""
    assert _search(searchable, text="gold", k=1)["hits"][0]["lineage"]
    answer = _search(searchable, text="gold", k=3, include=["vector", "original"])
    stored = searchable.encoder.encode_images([picture.image for picture in searchable.pictures])
    names = [picture.image_id for picture in searchable.pictures]
    for hit in answer["hits"]:
        assert hit["lineage"] is None
        assert hit["original"] is None  # the operator allows none
        expected = stored[names.index(hit["image_id"])]
        assert np.allclose(hit["vector"], expected, atol=1e-3)


CANCELLED = [{"text": "gold"}, {"text": "gold", "weight": -1}]


def test_a_batch_answers_each_search_in_its_place(searchable: Searchable) -> None:
    """One that means nothing has a problem there; the others are answered."""
    searches: list[dict[str, Any]] = [
        {"text": "gold", "k": 2}, {"image_id": "none"}, {"text": "crimson", "k": 3},
        {"text": "gold", "filter": {"columns": {"undeclared": 1}}}, {"terms": CANCELLED},
    ]  # fmt: skip
    response = web.post(f"{searchable.url}/v1/search/batch", json={"searches": searches})
    first, second, third, *meaningless = response.json()["items"]
    assert [one["problem"]["code"] for one in meaningless] == ["invalid_request"] * 2
    assert _ids(first["answer"]) == _ids(_search(searchable, text="gold", k=2))
    assert (second["answer"], second["problem"]["code"]) == (None, "not_found")
    assert len(third["answer"]["hits"]) == 3
    many = {"searches": [{"text": "gold"}] * 17}
    assert web.post(f"{searchable.url}/v1/search/batch", json=many).status_code == 422


def test_vectors_of_texts_and_uploads_search_like_them(searchable: Searchable) -> None:
    """They name the model; used as a term they give the same hits."""
    embedded = web.post(f"{searchable.url}/v1/embed", json={"texts": ["gold", "a cloud"]}).json()
    assert embedded["model"] == searchable.encoder.identity.short
    assert embedded["identity_key"] == searchable.encoder.identity.key
    assert [len(vector) for vector in embedded["vectors"]] == [embedded["dim"]] * 2
    by_vector = _search(searchable, terms=[{"vector": embedded["vectors"][0]}])
    assert _ids(by_vector) == _ids(_search(searchable, text="gold"))
    picture = searchable.pictures[4]
    url = f"{searchable.url}/v1/embed/image"
    uploaded = web.post(url, files={"file": ("x", picture.png)}).json()["vectors"]
    nearest = _search(searchable, terms=[{"vector": uploaded[0]}], k=1)
    assert _ids(nearest) == [picture.image_id]


def test_the_lineage_of_an_image_names_everything_it_comes_from(searchable: Searchable) -> None:
    """The row of the parquet, the commit, the runs with their links, the model and the release."""
    picture = searchable.pictures[11]  # a hostile name
    quoted = web.quoted(picture.image_id)
    lineage = web.get(f"{searchable.url}/v1/images/{quoted}/lineage").json()
    assert lineage["image_id"] == picture.image_id
    assert lineage["sha256"] == picture.sha256
    assert (lineage["shard"], lineage["row"], lineage["version"]) == ("sample-000000", 11, 3)
    assert (lineage["digest"], lineage["commit_path"]) == ("d" * 64, "commit.json")
    assert lineage["run_url"] == "http://dagster:3000/runs/run-embed"
    assert lineage["release_run_url"] == "http://dagster:3000/runs/run-release"
    assert lineage["identity"] == searchable.encoder.identity.model_dump(mode="json")
    assert web.get(f"{searchable.url}/v1/images/none/lineage").status_code == 404
