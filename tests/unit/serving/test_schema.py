"""What the API accepts."""

import pytest
from pydantic import AnyHttpUrl, ValidationError

from serving.schema import SearchRequest, _run_url


def test_a_query_is_a_text_or_an_image() -> None:
    """One of the two is enough, and 24 hits are the default."""
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
        {"text": "a", "k": 101},
        {"text": "a", "url": "http://x"},
        {"text": "a", "model": "another"},
    ],
)
def test_anything_else_is_refused(query: dict[str, object]) -> None:
    """Both, neither, blanks, NUL, bounds and unknown fields are invalid."""
    with pytest.raises(ValidationError):
        SearchRequest.model_validate(query)


def test_a_run_becomes_a_link_only_where_the_ui_is_known() -> None:
    """The run id is escaped; without a Dagster address there is no link."""
    assert _run_url(None, "r") is None
    assert _run_url(AnyHttpUrl("http://ui:3000"), "a/b?c") == "http://ui:3000/runs/a%2Fb%3Fc"
