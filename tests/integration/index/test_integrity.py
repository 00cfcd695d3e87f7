"""Nothing is published unless the table has what was committed."""

import psycopg
import pytest

from clip_assets.errors import ReleaseError
from clip_assets.index import tables
from clip_assets.index.tables import Index
from clip_assets.release import release
from tests.integration.support import Made, both_types, build_and_judge

SWAP = (
    "UPDATE clip_assets.{t} AS a SET embedding = b.embedding FROM clip_assets.{t} AS b "
    "WHERE a.shard = '00001' AND b.shard = '00001' AND (a.row, b.row) IN ((3, 4), (4, 3))"
)
DROP = "DELETE FROM clip_assets.{t} WHERE shard = '00001' AND row = 7"
STRANGE = (
    "INSERT INTO clip_assets.{t} SELECT '00009', row, 'x' || image_id, uri, caption, sha256, "
    "width, height, embedding FROM clip_assets.{t} WHERE shard = '00001'"
)
RENAME = "UPDATE clip_assets.{t} SET image_id = 'other' WHERE shard = '00001' AND row = 7"


def change(connection: psycopg.Connection, index: Index, statement: str) -> None:
    connection.execute(statement.format(t=tables.table_name(index.index_id)))


@both_types
def test_an_untouched_table_passes(connection: psycopg.Connection, made: Made) -> None:
    """The loaded rows equal the committed ones."""
    index = build_and_judge(connection, made)
    assert index.judgement
    assert index.judgement["damaged_shards"] == []


@both_types
@pytest.mark.parametrize(
    ("statement", "shard"),
    [(SWAP, "00001"), (DROP, "00001"), (STRANGE, "00009"), (RENAME, "00001")],
    ids=["two vectors swapped", "a row lost", "rows nobody committed", "an id changed"],
)
def test_a_changed_table_is_not_published(
    connection: psycopg.Connection, made: Made, statement: str, shard: str
) -> None:
    """One wrong row among hundreds blocks publication, and the error names its shard."""
    change(connection, build_and_judge(connection, made), statement)
    index = build_and_judge(connection, made)
    with pytest.raises(ReleaseError, match=f"differ from the committed ones in shards {shard}"):
        release.publish(connection, index, "run")
