"""What people say of hits, over HTTP."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from clip_assets.keys import KeyFile
from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from serving.client import Client, ProblemError
from serving.judging import Judged
from serving.query import Term
from tests import web
from tests.integration.serving.support import (
    Searchable,
    drawn,
    publish,
    readiness,
    running,
    settings,
    wait_until,
)


def test_a_judgement_is_kept_changed_and_withdrawn(searchable: Searchable) -> None:
    """One word of each person on an image for a query: a text, an image, or several weighted terms
    in any order."""
    gold, other = searchable.pictures[3].image_id, searchable.pictures[11].image_id
    with Client(searchable.url, timeout=120) as client:
        for verdict in ("right", "wrong"):
            client.judge(Judged(query_text="gold", image_id=gold, verdict=verdict))
        client.judge(Judged(query_image=gold, image_id=other, verdict="right"))
        found = {(one.query_text, one.image_id): one.verdict for one in client.judgements()}
        assert found == {("gold", gold): "wrong", (None, other): "right"}
        address = f"{searchable.url}/v1/judgements"
        (of_gold,) = web.get(address, params={"query_text": "gold"}).json()
        (rest,) = web.get(address, params={"after": of_gold["judgement_id"]}).json()
        assert (rest["query_image"], rest["judged_by"]) == (gold, None)
        both = (Term(image_id=gold), Term(text="gold", weight=-0.5))
        client.judge(Judged(query_terms=both, image_id=other, verdict="right"))
        asked = [{"text": "gold", "weight": -0.5}, {"image_id": gold}]
        (several,) = web.get(address, params={"query_terms": json.dumps(asked)}).json()
        assert {"text": None, "image_id": gold, "weight": 1} in several["query_terms"]
        assert {"text": "gold", "image_id": None, "weight": -0.5} in several["query_terms"]
        client.judge(Judged(query_terms=both[::-1], image_id=other, verdict=None))
        client.judge(Judged(query_text="gold", image_id=gold, verdict=None))
        client.judge(Judged(query_image=gold, image_id=other, verdict=None))
        assert client.judgements() == []


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"query_text": "a", "image_id": "none", "verdict": "right"}, 404),
        ({"query_image": "none", "image_id": "none", "verdict": "right"}, 404),
        ({"image_id": "none", "verdict": "right"}, 422),
        ({"query_terms": [{"image_id": "none"}, {"text": "a"}], "image_id": "none",
          "verdict": "right"}, 404),
        ({"query_terms": [{"vector": [1.0]}], "image_id": "none", "verdict": "right"}, 422),
        ({"query_text": "a", "image_id": "none", "verdict": "maybe"}, 422),
        ({"query_text": "a", "image_id": "none"}, 422),
    ],
)  # fmt: skip
def test_a_judgement_of_nothing_is_refused(
    searchable: Searchable, wrong: dict[str, Any], status: int
) -> None:
    """An image that the release lacks, no query, or another word than right and wrong."""
    assert web.post(f"{searchable.url}/v1/judgements", json=wrong).status_code == status


def test_judging_needs_a_key_that_may_and_a_database_that_can_be_written(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder, tmp_path: Path
) -> None:
    """The key's name is kept with the judgement; a service of a copy refuses to take any, and so
    does one whose user of the database may only read."""
    picture = drawn(1)
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(
            connection, tiny_spec, tiny.identity, [picture], tiny.encode_images([picture.image])
        )
        connection.execute("CREATE ROLE only_reads LOGIN IN ROLE clip_reader")
    keys = KeyFile(tmp_path / "keys.json")
    searcher, judge = keys.add("page", "search"), keys.add("ann", "judge")
    judged = Judged(query_text="x", image_id=picture.image_id, verdict="right")

    def asks(key: str, **values: object) -> str | None:
        with running(settings(values.pop("dsn", dsn), auth=True, keys=keys.path, **values)) as url:
            wait_until(lambda: readiness(url)[0] == 200, url)
            with Client(url, key, timeout=120) as client:
                client.judge(judged)
                return client.judgements()[0].judged_by

    assert asks(judge) == "ann"
    with pytest.raises(ProblemError, match="needs a key with the role judge") as refused:
        asks(searcher)
    assert refused.value.problem.status == 403
    reader = psycopg.conninfo.make_conninfo(dsn, user="only_reads")
    for values, said in (({"read_only": True}, "is a copy of"), ({"dsn": reader}, "GRANT INSERT")):
        with pytest.raises(ProblemError, match=said) as refused:
            asks(judge, **values)
        assert (refused.value.problem.status, refused.value.problem.code) == (409, "read_only")
