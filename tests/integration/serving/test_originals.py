"""Images as they are in the source, where the operator allows it."""

from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

from clip_assets.index.tables import table_name
from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from tests import web
from tests.integration.serving.support import drawn, publish, running, settings, wait_until_ready


def test_only_what_the_operator_allows_is_given(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder, tmp_path: Path
) -> None:
    """Files below a named folder that are still the indexed ones; not those beside it, behind a
    link, changed or gone. Hits have the address of those that may be given."""
    allowed, beside = tmp_path / "photos", tmp_path / "photos-private"
    allowed.mkdir()
    beside.mkdir()
    pictures = [drawn(number) for number in range(5)]
    files = [allowed / "a b%20é.png", beside / "1.png", allowed / "link.png", allowed / "3.png"]
    files.append(allowed / "gone.png")
    for picture, file in zip(pictures[:2], files, strict=False):
        file.write_bytes(picture.png)
    (beside / "2.png").write_bytes(pictures[2].png)
    files[2].symlink_to(beside / "2.png")
    files[3].write_bytes(pictures[0].png)
    vectors = tiny.encode_images([picture.image for picture in pictures])
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, tiny_spec, tiny.identity, pictures, vectors)
        index_id = connection.execute("SELECT max(index_id) FROM clip_assets.index").fetchone()
        assert index_id
        move = sql.SQL("UPDATE clip_assets.{} SET uri = %s WHERE image_id = %s")
        for picture, file in zip(pictures, files, strict=True):
            table = sql.Identifier(table_name(index_id[0]))
            connection.execute(move.format(table), [str(file), picture.image_id])
    with running(settings(dsn, originals=(str(allowed),))) as url:
        wait_until_ready(url)
        query = {"text": "gold", "include": ["original"]}
        hits = web.post(f"{url}/v1/search", json=query).json()["hits"]
        given = {hit["image_id"]: hit["original"] for hit in hits}
        assert given[pictures[1].image_id] is None
        first = web.get(url + given[pictures[0].image_id])
        assert first.content == pictures[0].png
        assert first.headers["content-type"] == "image/png"
        assert first.headers["x-content-type-options"] == "nosniff"
        for picture in pictures[1:]:
            quoted = web.quoted(picture.image_id)
            refused = web.get(f"{url}/v1/images/{quoted}/original")
            assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
            assert str(tmp_path) not in refused.text
