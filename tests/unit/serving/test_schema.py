"""Which queries the API accepts."""

import pytest
from pydantic import AnyHttpUrl, ValidationError

from serving.query import AddressQuery, SearchRequest
from serving.schema import _run_url


def test_a_query_is_either_a_text_or_an_image_id() -> None:
    """Either one is enough; `k` defaults to 24."""
    assert SearchRequest(text=" a cloud ").text == "a cloud"
    assert SearchRequest(image_id="a/b.jpg").k == 24


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"text": "a", "image_id": "b"},
        {"text": " "},
        {"text": "a\0b"},
        {"image_id": ""},
        {"image_id": "a\0"},
        {"text": "a" * 1001},
        {"text": "a", "k": 0},
        {"text": "a", "k": 1001},
        {"text": "a", "url": "http://x"},
        {"text": "a", "model": "another"},
        {"text": "a", "terms": [{"text": "b"}]},
        {"terms": []},
        {"terms": [{"text": "a"}] * 17},
        {"terms": [{"weight": 2}]},
        {"terms": [{"text": "a", "image_id": "b"}]},
        {"terms": [{"text": "a", "weight": 0}]},
        {"terms": [{"text": "a", "weight": 10.5}]},
        {"terms": [{"text": "a", "weight": float("nan")}]},
        {"terms": [{"vector": [float("inf")]}]},
        {"text": "a", "min_score": 2},
        {"text": "a", "exclude_ids": ["b"] * 101},
    ],
)
def test_an_invalid_query_is_refused(query: dict[str, object]) -> None:
    """Both or neither, blanks, NUL, values out of range and unknown fields are invalid."""
    with pytest.raises(ValidationError):
        SearchRequest.model_validate(query)


def test_an_address_asks_what_a_body_asks() -> None:
    """The filter's fields stand beside the text."""
    asked = AddressQuery(q="a", k=3, min_width=5, words="b", min_score=0.5).request
    body = {"text": "a", "k": 3, "filter": {"min_width": 5, "words": "b"}, "min_score": 0.5}
    assert asked == SearchRequest.model_validate(body)
    assert AddressQuery(image_id="a/b").request == SearchRequest(image_id="a/b")


def test_a_run_has_a_link_only_if_the_address_of_dagster_is_set() -> None:
    """The run id is escaped in the link."""
    assert _run_url(None, "r") is None
    assert _run_url(AnyHttpUrl("http://ui:3000"), "a/b?c") == "http://ui:3000/runs/a%2Fb%3Fc"
