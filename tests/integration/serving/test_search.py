"""Searching over HTTP."""

import io
import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_assets.search import search as index_search
from clip_assets.search.filters import Filter
from clip_assets.search.nearest import Budget, Graph
from serving.client import Client
from serving.query import SearchRequest
from tests import web
from tests.integration.serving.support import COLORS, DRAWN, Searchable


def _search(service: Searchable, **query: object) -> dict[str, Any]:
    response = web.post(f"{service.url}/v1/search", json=query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def _ids(answer: dict[str, Any]) -> list[str]:
    return [hit["image_id"] for hit in answer["hits"]]


def _exact(service: Searchable, text: str, k: int) -> list[str]:
    """Ids of the nearest pictures by brute force."""
    stored = service.encoder.encode_images([picture.image for picture in service.pictures])
    scores = stored @ service.encoder.encode_text([text])[0]
    return [service.pictures[i].image_id for i in np.argsort(-scores)[:k]]


def test_a_text_finds_what_exact_search_finds(searchable: Searchable) -> None:
    """Hits come nearest first and equal those of a brute-force comparison."""
    answer = _search(searchable, text="a gold ellipse", k=5)
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert set(_ids(answer)) == set(_exact(searchable, "a gold ellipse", 5))


WIDE = {"min_width": 96}


def test_a_filter_narrows_every_kind_of_query(searchable: Searchable) -> None:
    """Text, stored image and upload return only images that match, and report `complete`."""
    wide = {p.image_id for p in searchable.pictures if p.image.width >= 96}
    asked = sorted(wide)[0]
    picture = searchable.pictures[0]
    upload = web.post(
        f"{searchable.url}/v1/search/image",
        files={"file": ("x", picture.png)},
        data={"filter": json.dumps(WIDE)},
    ).json()
    by_text = _search(searchable, text="a gold ellipse", filter=WIDE)
    like = _search(searchable, image_id=asked, filter=WIDE)
    assert set(_ids(by_text)) == set(_ids(upload)) == wide
    assert set(_ids(like)) == wide - {asked}
    assert by_text["complete"] is upload["complete"] is like["complete"] is True


def test_an_answer_that_was_cut_short_says_so(
    searchable: Searchable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`complete` is false if search stops at its limit before it has found k images."""
    none = Budget(exact_factor=0, scan_tuples=1, rescue_rows=0)
    monkeypatch.setattr(index_search, "Graph", partial(Graph, budget=none))
    answer = _search(searchable, text="a gold ellipse", k=11, filter=WIDE)
    assert answer["complete"] is False
    assert 0 < len(answer["hits"]) < 11


def test_filters_by_words_uri_prefix_and_shard(searchable: Searchable) -> None:
    """Words match the caption in any case; the prefix matches the start of the URI."""
    answer = _search(searchable, text="x", filter={"words": "GOLD"})
    assert {hit["caption"] for hit in answer["hits"]} == {"a gold ellipse"}
    answer = _search(searchable, text="x", filter={"uri_prefix": "images/shapes/0"})
    assert len(answer["hits"]) == 10
    assert _search(searchable, text="x", filter={"shards": ["nowhere"]})["hits"] == []


def test_the_api_documents_every_filter(searchable: Searchable) -> None:
    """Each field of the filter has a description in the OpenAPI document."""
    document = web.get(f"{searchable.url}/openapi.json").json()
    parts = document["components"]["schemas"]["Filter"]["properties"]
    assert set(parts) == {field.alias or name for name, field in Filter.model_fields.items()}
    assert all(part["description"] for part in parts.values())


def test_filters_are_joined(searchable: Searchable) -> None:
    """In a body, in an address and by the typed client, which all give the same hits."""
    tree = {"any": [{"words": "gold"}, {"not": {"max_width": 64}}]}
    expected = {
        picture.image_id
        for picture in searchable.pictures
        if "gold" in str(picture.caption) or picture.image.width > 64
    }
    assert 0 < len(expected) < len(searchable.pictures)
    query = SearchRequest(text="x", filter=Filter.model_validate(tree))
    address = {"q": "x", "filter": json.dumps(tree)}
    with Client(searchable.url, timeout=120) as client:
        typed = {hit.image_id for hit in client.search(query).hits}
    posted = set(_ids(_search(searchable, text="x", filter=tree)))
    got = web.get(f"{searchable.url}/v1/search", params=address).json()
    assert posted == set(_ids(got)) == typed == expected
    flat = web.get(f"{searchable.url}/v1/search", params={**address, "words": "gold"}).json()
    assert {hit["caption"] for hit in flat["hits"]} == {"a gold ellipse"}


def test_declared_columns_are_described_and_searched(searchable: Searchable) -> None:
    """With their types, and with the values or bounds that a filter can ask for; a wrong name or
    value is refused with what is declared."""
    with Client(searchable.url, timeout=120) as client:
        columns = {column.name: column for column in client.columns()}
    assert columns["color"].values == sorted(COLORS)
    assert columns["round"].values == [False, True]
    assert (columns["number"].min, columns["number"].max) == (0, 11)
    assert (columns["drawn_on"].min, columns["drawn_on"].max) == ("2026-01-01", "2026-01-12")
    listed = web.get(f"{searchable.url}/v1/collections").json()[0]["columns"]
    assert listed == {name: str(kind) for name, kind in DRAWN.items()}
    some = {"number": {"min": 2, "max": 4}}
    found = _search(searchable, text="x", filter={"columns": some})["hits"]
    assert {hit["columns"]["number"] for hit in found} == {2, 3, 4}
    for wrong, said in (({"size": 1}, "declares color, number"), ({"number": "a"}, "not a bigint")):
        body = {"text": "x", "filter": {"not": {"columns": wrong}}}
        answer = web.post(f"{searchable.url}/v1/search", json=body)
        assert answer.status_code == 422
        assert said in answer.json()["detail"]


def test_a_filter_without_bounds_is_refused(searchable: Searchable) -> None:
    """By 422 with a short reason if it is too deep, by 400 if it is not even JSON to the parser."""
    for depth, status in ((6, 422), (300, 422), (4_000, 400)):
        body = (
            b'{"text": "x", "filter": ' + b'{"not": ' * depth + b'{"min_width": 1}' + b"}" * depth
        )
        answer = web.post(
            f"{searchable.url}/v1/search",
            content=body + b"}",
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == status, answer.text
        assert len(answer.json()["detail"]) < 3_000


@pytest.mark.parametrize("wrong", ["{", "[]", '{"caption": "x"}', '{"min_width": "wide"}'])
def test_an_invalid_filter_in_a_form_is_refused(searchable: Searchable, wrong: str) -> None:
    """The response is 422 and names the field; the file is not decoded."""
    url = f"{searchable.url}/v1/search/image"
    response = web.post(url, files={"file": ("x", b"no image")}, data={"filter": wrong})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert "filter" in response.json()["detail"]


def test_a_hit_has_its_lineage(searchable: Searchable) -> None:
    """Each hit names run, job, shard, model and device; the run links to the Dagster UI."""
    hit = _search(searchable, text="a gold ellipse", k=1)["hits"][0]
    assert hit["lineage"] == {
        "run_id": "run-embed",
        "run_url": "http://dagster:3000/runs/run-embed",
        "job_id": "job-embed",
        "shard": "sample-000000",
        "version": 3,
        "model": searchable.encoder.identity.short,
        "device": "cpu",
    }


def test_an_answer_warns_about_an_untrained_model(searchable: Searchable) -> None:
    """The answer also has release, collection and times."""
    answer = _search(searchable, text="a gold ellipse")
    assert answer["warning"] == "untrained model: results are meaningless"
    assert answer["collection"] == "sample"
    assert answer["release"]["untrained"] is True
    assert set(answer["timings_ms"]) == {"waited", "encode", "search", "total"}


def test_images_similar_to_an_image_exclude_that_image(searchable: Searchable) -> None:
    """The answer has k hits, none of which is the queried image."""
    asked = searchable.pictures[3].image_id
    answer = _search(searchable, image_id=asked, k=11)
    assert asked not in _ids(answer)
    assert len(answer["hits"]) == 11
    assert answer["query"]["kind"] == "image_id"
    assert answer["query"]["image_id"] == asked


@pytest.mark.parametrize("number", [2, 11])
def test_an_uploaded_copy_finds_its_original(searchable: Searchable, number: int) -> None:
    """The first hit of an uploaded file is the image with the same pixels."""
    picture = searchable.pictures[number]
    response = web.post(
        f"{searchable.url}/v1/search/image",
        files={"file": ("x", picture.png, "text/plain")},
        data={"k": "3"},
    )
    hits = response.json()["hits"]
    assert len(hits) == 3
    assert hits[0]["image_id"] == picture.image_id
    assert hits[0]["score"] > 0.999


def test_an_unknown_collection_is_not_found(searchable: Searchable) -> None:
    """Another collection gives 404, and the message names the served one."""
    assert _search(searchable, text="x", collection="sample", k=1)["hits"]
    query = {"text": "x", "collection": "others"}
    response = web.post(f"{searchable.url}/v1/search", json=query)
    assert response.status_code == 404
    assert "sample" in response.json()["detail"]


@pytest.mark.parametrize(
    ("query", "about"),
    [
        ({}, "either"),
        ({"text": "a", "image_id": "b"}, "either"),
        ({"text": "  "}, "blank"),
        ({"text": "nul\0"}, "NUL"),
        ({"text": "lone \ud800"}, "text"),
        ({"text": "a", "k": 0}, "k:"),
        ({"text": "a", "k": 1001}, "k:"),
        ({"text": "a", "k": "many"}, "k:"),
        ({"text": "a", "size": 3}, "size:"),
        ({"text": ["a"]}, "text:"),
        ({"text": "a", "filter": {"caption": "x"}}, "filter.caption:"),
        ({"text": "a", "filter": {"min_width": -1}}, "filter.min_width:"),
        ({"text": "a", "filter": {"words": "nul\0"}}, "NUL"),
    ],
)
def test_an_invalid_query_names_the_field(
    searchable: Searchable, query: dict[str, object], about: str
) -> None:
    """The response is 422, names each invalid field and does not repeat the input."""
    headers = {"Content-Type": "application/json"}
    content = json.dumps(query)
    response = web.post(f"{searchable.url}/v1/search", content=content, headers=headers)
    error = response.json()
    assert (response.status_code, error["code"]) == (422, "invalid_request")
    assert about in error["detail"]


def test_malformed_json_is_refused(searchable: Searchable) -> None:
    """A malformed body gets 422 and a message."""
    headers = {"Content-Type": "application/json"}
    response = web.post(f"{searchable.url}/v1/search", content=b"{", headers=headers)
    assert response.status_code == 422
    assert response.json()["code"] == "invalid_request"


@pytest.mark.parametrize("kind", ["", "application/x-www-form-urlencoded"])
def test_json_that_is_not_called_so_says_which_header_to_send(
    searchable: Searchable, kind: str
) -> None:
    """As `curl -d` sends it."""
    headers = {"Content-Type": kind} if kind else {}
    response = web.post(f"{searchable.url}/v1/search", content=b'{"text": "a"}', headers=headers)
    assert response.status_code == 422
    assert "send it with `Content-Type: application/json`" in response.json()["detail"]


@pytest.mark.parametrize("image_id", ["no/such.png", "../../etc/passwd", "' OR 1=1 --", "%00"])
def test_an_unknown_image_is_not_found(searchable: Searchable, image_id: str) -> None:
    """Whatever an id looks like, it is only compared with stored ids."""
    response = web.post(f"{searchable.url}/v1/search", json={"image_id": image_id})
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


def _gif() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "GIF")
    return file.getvalue()


def _bomb() -> bytes:
    file = io.BytesIO()
    Image.new("1", (6000, 6000)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "about"),
    [
        (b"", "empty"),
        (b"<html>", "not a JPEG"),
        (_gif(), "not a JPEG"),
        (_bomb(), "too many pixels"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "PNG"),
    ],
)
def test_an_unusable_upload_is_refused_with_its_reason(
    searchable: Searchable, data: bytes, about: str
) -> None:
    """The message names wrong format, size or damage; none of these is a server error."""
    response = web.post(f"{searchable.url}/v1/search/image", files={"file": ("x.jpg", data)})
    error = response.json()
    assert (response.status_code, error["code"]) == (422, "unusable_image")
    assert about in error["detail"]


def test_a_body_over_the_limit_is_not_read(searchable: Searchable) -> None:
    """Both search routes answer 413, with or without a Content-Length."""
    head = b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n"
    for path in ("/v1/search", "/v1/search/image"):
        for content in (head + b"x" * (9 * 2**20), iter([head, *[b"x" * 65536] * 144])):
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            response = web.post(searchable.url + path, content=content, headers=headers)
            assert response.status_code == 413
            assert response.json()["code"] == "too_large"


def test_a_form_must_have_exactly_one_file(searchable: Searchable) -> None:
    """A form without a file and a form with two files are both refused."""
    url = f"{searchable.url}/v1/search/image"
    assert web.post(url, data={"k": "3"}).status_code == 422
    unnamed = web.post(url, files={"file": (None, b"1")})
    assert unnamed.json()["detail"].startswith("file: must be a file with a name, as `curl -F")
    two = [("file", ("a", b"1")), ("file", ("b", b"2"))]
    assert web.post(url, files=two).status_code == 400
