"""Searching for several things at once, and away from some."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest
from PIL import Image

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


def _search(service: Searchable, **query: object) -> dict[str, Any]:
    response = web.post(f"{service.url}/v1/search", json=query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def _ids(answer: dict[str, Any]) -> list[str]:
    return [hit["image_id"] for hit in answer["hits"]]


def _scores(answer: dict[str, Any]) -> dict[str, float]:
    return {hit["image_id"]: hit["score"] for hit in answer["hits"]}


def test_terms_are_searched_as_their_weighted_sum(searchable: Searchable) -> None:
    """Scores are the cosine similarity to the sum of unit vectors, each times its weight: texts,
    images and vectors of any length, some with a negative weight."""
    stored = searchable.encoder.encode_images([picture.image for picture in searchable.pictures])
    text = searchable.encoder.encode_text(["gold"])[0]
    total = 2 * text - 0.5 * stored[3] + stored[5]
    expected = stored @ (total / np.linalg.norm(total))
    terms = [
        {"text": "gold", "weight": 2},
        {"image_id": searchable.pictures[3].image_id, "weight": -0.5},
        {"vector": (stored[5] * 7).tolist()},
    ]
    answer = _search(searchable, terms=terms, k=100)
    scores = _scores(answer)
    assert searchable.pictures[3].image_id not in scores
    for picture, score in zip(searchable.pictures, expected, strict=True):
        if picture.image_id in scores:
            assert scores[picture.image_id] == pytest.approx(score, abs=2e-3)
    assert len(scores) == len(searchable.pictures) - 1
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert [term["weight"] for term in answer["query"]["terms"]] == [2, -0.5, 1]


def test_a_single_term_is_the_short_form(searchable: Searchable) -> None:
    """Both give the same hits; a negative weight reverses the order."""
    short = _search(searchable, text="gold", k=100)
    assert _search(searchable, terms=[{"text": "gold"}], k=100)["hits"] == short["hits"]
    light = [{"text": "gold", "weight": 1e-4}]
    assert _scores(_search(searchable, terms=light, k=100)).keys() == _scores(short).keys()
    away = _search(searchable, terms=[{"text": "gold", "weight": -3}], k=100)
    assert sorted(_scores(away)) == sorted(_scores(short))
    for image_id, score in _scores(away).items():
        assert score == pytest.approx(-_scores(short)[image_id], abs=1e-3)


@pytest.mark.parametrize(
    ("terms", "about"),
    [
        ([{"text": "a"}, {"text": "a", "weight": -1}], "cancel each other out"),
        ([{"vector": [1.0, 2.0]}], "has 32 numbers"),
        ([{"vector": [0.0] * 32}], "all zeros"),
    ],
)
def test_terms_that_mean_nothing_are_refused(
    searchable: Searchable, terms: list[dict[str, object]], about: str
) -> None:
    """The message says what to change."""
    response = web.post(f"{searchable.url}/v1/search", json={"terms": terms})
    assert response.status_code == 422
    assert about in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ('{"terms": [{"text": "a", "weight": 11}]}',
         "terms.0.weight: Input should be less than or equal to 10"),
        ('{"terms": []}', "terms: Tuple should have at least 1 item after validation, not 0"),
        ('{"text": ', "The body is not valid JSON: Expecting value, character 9."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_once(searchable: Searchable, body: str, detail: str) -> None:
    """The error names the field and its fault, and no other that only follows from it."""
    headers = {"Content-Type": "application/json"}
    response = web.post(f"{searchable.url}/v1/search", content=body, headers=headers)
    assert (response.status_code, response.json()["detail"]) == (422, detail)


def test_an_unknown_image_among_the_terms_is_not_found(searchable: Searchable) -> None:
    """It is not left out silently."""
    terms = [{"text": "a"}, {"image_id": "none"}]
    response = web.post(f"{searchable.url}/v1/search", json={"terms": terms})
    assert response.status_code == 404


def test_hits_below_a_score_or_excluded_are_left_out(searchable: Searchable) -> None:
    """Excluded images make room for others; a cut-off leaves the answer complete."""
    every = _search(searchable, text="gold", k=12)
    first, second, third, *_ = _ids(every)
    assert _ids(_search(searchable, text="gold", k=2, exclude_ids=[first, second]))[0] == third
    least = every["hits"][2]["score"]
    cut = _search(searchable, text="gold", k=12, min_score=least - 1e-6)
    assert _ids(cut) == [first, second, third]
    assert cut["complete"] is True


def test_a_link_searches_like_a_body(searchable: Searchable) -> None:
    """GET takes the text, the number of hits, a filter and a score from the address."""
    link = {"q": "gold", "k": "5", "words": "gold", "min_score": "-1"}
    answer = web.get(f"{searchable.url}/v1/search", params=link)
    assert answer.status_code == 200
    filtered = _search(searchable, text="gold", k=5, filter={"words": "gold"})
    assert answer.json()["hits"] == filtered["hits"]
    like = {"image_id": searchable.pictures[11].image_id}
    assert web.get(f"{searchable.url}/v1/search", params=like).json()["hits"]
    for wrong in ({}, {"q": "a", "image_id": "b"}, {"q": "a", "size": "3"}, {"q": "a", "k": "0"}):
        assert web.get(f"{searchable.url}/v1/search", params=wrong).status_code == 422


def test_a_text_beyond_the_context_says_how_much_was_read(searchable: Searchable) -> None:
    """The answer gives the start of the text that the model reads; it searches like the whole."""
    text = "a gold ellipse on white paper " * 30
    answer = _search(searchable, text=text, k=3)
    read = answer["query"]["read"]
    assert text.startswith(read)
    assert 0 < len(read) < len(text)
    again = _search(searchable, text=read, k=3)
    assert again["query"]["read"] is None
    assert again["hits"] == answer["hits"]


def test_equal_files_can_be_collapsed(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder
) -> None:
    """Of five copies of each picture the nearest stays, and others take the places of the rest."""
    dsn = new_database()
    pictures = [
        replace(drawn(number), image_id=f"{copy}/{number}")
        for number in range(4)
        for copy in "abcde"
    ]
    vectors = tiny.encode_images([picture.image for picture in pictures])
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, tiny_spec, tiny.identity, pictures, vectors)
    with running(settings(dsn)) as url:
        wait_until_ready(url)
        every = web.post(f"{url}/v1/search", json={"text": "gold", "k": 20}).json()
        for k in (1, 3, 4, 5):
            query = {"text": "gold", "k": k, "collapse_duplicates": True}
            answer = web.post(f"{url}/v1/search", json=query).json()
            files = [hit["sha256"] for hit in answer["hits"]]
            assert files == list(dict.fromkeys(hit["sha256"] for hit in every["hits"]))[:k]
            assert answer["complete"] is True


def test_an_answer_has_the_vector_that_was_searched_for_if_asked(searchable: Searchable) -> None:
    """Searching with it finds the same hits with the same scores."""
    terms = [{"text": "gold"}, {"image_id": searchable.pictures[3].image_id, "weight": -0.5}]
    answer = _search(searchable, terms=terms, include=["query_vector"])
    vector = answer["query"]["vector"]
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    again = _search(
        searchable, terms=[{"vector": vector}], exclude_ids=[searchable.pictures[3].image_id]
    )
    assert _scores(again) == _scores(answer)
    assert again["query"]["vector"] is None


def test_an_answer_says_how_deep_it_looked(searchable: Searchable) -> None:
    """Past hits of earlier pages and those that are left out."""
    first = _search(searchable, text="gold", k=3)
    excluded = _ids(first)
    assert first["depth"] == 4
    second = _search(searchable, text="gold", k=3, cursor=first["cursor"])
    assert second["depth"] == 7
    without = _search(searchable, text="gold", k=3, exclude_ids=excluded)
    assert without["depth"] == 7
    assert _ids(without) == _ids(second)


def test_an_uploaded_picture_has_one_vector(searchable: Searchable) -> None:
    """Searching with a large JPEG is searching with what `/v1/embed/image` gives for it."""
    file = io.BytesIO()
    image = searchable.pictures[4].image.resize((1920, 1280), Image.Resampling.BICUBIC)
    image.save(file, "JPEG")
    files = {"file": ("large.jpg", file.getvalue())}
    by_upload = web.post(f"{searchable.url}/v1/search/image", files=files).json()
    (vector,) = web.post(f"{searchable.url}/v1/embed/image", files=files).json()["vectors"]
    assert _scores(_search(searchable, terms=[{"vector": vector}])) == _scores(by_upload)
