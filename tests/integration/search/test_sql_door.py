"""SQL access: what an analyst with the reader's role can query of the live release."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from clip_assets.search import search
from clip_assets.search.filters import Filter
from clip_assets.store.objects import Objects
from tests.integration.support import Made, both_types, exact, matrix, publish

Connect = Callable[[], psycopg.Connection]

FORBIDDEN = [
    "INSERT INTO clip_assets.live VALUES ('photos', 1)",
    "UPDATE clip_assets.images_1 SET caption = 'mine'",
    "DELETE FROM clip_assets.images_1",
    "TRUNCATE clip_assets.ledger",
    "DROP TABLE clip_assets.images_1",
    "CREATE TABLE photos.mine (a int)",
    "CREATE TABLE clip_assets.mine (a int)",
    "CREATE SCHEMA mine",
    "CREATE OR REPLACE FUNCTION photos.similar(to_image text, k int DEFAULT 10) "
    "RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER VIEW photos.images RENAME TO theirs",
    "UPDATE photos.images SET caption = 'mine'",
    "SELECT pg_read_file('PG_VERSION')",
    "COPY clip_assets.live TO PROGRAM 'cat'",
    "COPY clip_assets.live TO '/tmp/live'",
    "SELECT lo_import('/etc/hostname')",
]


def test_images(as_reader: Connect, released: Made) -> None:
    """The view has every image of the live release with plain columns, vector and lineage."""
    rows = (
        as_reader()
        .execute(
            "SELECT image_id, caption, uri, sha256, width, height, shard, row, "
            "vector_dims(embedding), shard_version, run_id, job_id, device, release_id, model "
            "FROM photos.images ORDER BY shard, row"
        )
        .fetchall()
    )
    assert [row[0] for row in rows] == released.rows().column("image_id").to_pylist()
    assert rows[1] == (
        "00000-0001.jpg", "caption 1 of 1", "/pictures/00000-0001.jpg",
        released.rows().column("sha256")[1].as_py(), 41, 30, "00000", 1, 32, 1,
        "run-of-00000-v1", "job-1", "cpu", 1, "made-up",
    )  # fmt: skip


@both_types
def test_search(as_reader: Connect, released: Made) -> None:
    """search(vector, k) gives the exact neighbours in order; k may exceed ef_search."""
    query = matrix(released.rows())[7]
    reader = as_reader()
    found = reader.execute(
        "SELECT image_id, score FROM photos.search(%s::halfvec, 60)", [str(query.tolist())]
    ).fetchall()
    scores = [score for _, score in found]
    nearest = exact(released.rows(), query, 60)
    assert [name for name, _ in found][:5] == nearest[:5]
    assert len(set(nearest) & {name for name, _ in found}) >= 58
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1, abs=1e-3)
    assert (
        len(reader.execute("SELECT * FROM photos.search(%s)", [str(query.tolist())]).fetchall())
        == 10
    )


FIRST = "(SELECT embedding FROM photos.images LIMIT 1)"
MISTAKEN = [
    ("search((SELECT embedding FROM photos.images WHERE image_id = 'typo.jpg'), 3)", '"query"'),
    ("search(NULL)", '"query"'),
    ("search((SELECT embedding FROM photos.images LIMIT 1), NULL::int)", '"k"'),
    ("search((SELECT embedding FROM photos.images LIMIT 1), 0)", '"k"'),
    ("search_where(NULL, '{}')", '"query"'),
    (f"search_where({FIRST}, '{{}}', 0)", '"k"'),
    ("similar(NULL)", '"to_image"'),
    ("similar('00001-0007.jpg', NULL)", '"k"'),
    ("similar('00001-0007.jpg', -1)", '"k"'),
]


@pytest.mark.parametrize(("call", "argument"), MISTAKEN)
def test_a_mistaken_argument_is_named(
    as_reader: Connect, released: Made, call: str, argument: str
) -> None:
    """A mistyped id makes the vector NULL: that is an error, not ten arbitrary images."""
    with pytest.raises(psycopg.DataError, match=f"the argument {argument}"):
        as_reader().execute(f"SELECT * FROM photos.{call}")  # type: ignore[arg-type]


UNKNOWN = [
    ("[]", "must be a JSON object"),
    ('{"min_with": 5}', "a part that is not known"),
    ('{"any": [{"not": {"min_with": 5}}]}', "a part that is not known"),
    ('{"columns": {"colour": "red"}}', "a column that is not declared"),
    ('{"min_width": "wide"}', "invalid input syntax"),
]


@pytest.mark.parametrize(("only", "said"), UNKNOWN)
def test_a_filter_that_means_nothing_is_refused(
    as_reader: Connect, released: Made, only: str, said: str
) -> None:
    """At any depth of it; nothing is ignored."""
    with pytest.raises(psycopg.Error, match=said):
        as_reader().execute(
            f"SELECT * FROM photos.search_where({FIRST}, %s::jsonb)",  # type: ignore[arg-type]
            [only],
        )


FILTERS = [
    ("shards => '{00001,00002}'", "shard IN ('00001', '00002')"),
    ("uri_prefix => '/pictures/00003-000'", "starts_with(uri, '/pictures/00003-000')"),
    ("words => 'caption 7'", "starts_with(caption, 'caption 7 ')"),
    ("min_width => 60, max_width => 70", "width BETWEEN 60 AND 70"),
    ("min_height => 31", "height >= 31"),
]


@both_types
@pytest.mark.parametrize(("argument", "condition"), FILTERS)
def test_search_among_some(
    as_reader: Connect, released: Made, argument: str, condition: str
) -> None:
    """search(vector, k, filter => …) gives the nearest of those that pass, k of them if they
    are there."""
    query = str(matrix(released.rows())[7].tolist())
    reader = as_reader()
    found = reader.execute(
        f"SELECT image_id FROM photos.search(%s::halfvec, 5, {argument})",  # type: ignore[arg-type]
        [query],
    ).fetchall()
    right = reader.execute(
        f"SELECT image_id FROM photos.images WHERE {condition} "  # type: ignore[arg-type]
        "ORDER BY embedding <=> %s::halfvec, image_id LIMIT 5",
        [query],
    ).fetchall()
    assert found == right


def test_a_wide_filter_walks_until_k_are_found(
    connection: psycopg.Connection, as_reader: Connect, tmp_path: Path
) -> None:
    """Where many match, the HNSW is walked past its first candidates: k rows, all of which pass;
    the settings of the session stay as they were."""
    made = Made(Objects(str(tmp_path / "many")))
    made.add("00000", 3_000)
    publish(connection, made)
    reader = as_reader()
    for call in (
        f"search({FIRST}, 100, min_width => 1540)",
        f"""search_where({FIRST}, '{{"not": {{"max_width": 1539}}}}', 100)""",
    ):
        found = reader.execute(
            f"SELECT count(*), min(width) FROM photos.{call} JOIN photos.images USING (image_id)"  # type: ignore[arg-type]
        ).fetchone()
        assert found is not None
        assert found[0] == 100
        assert found[1] >= 1540
    for name, value in (("enable_sort", "on"), ("hnsw.iterative_scan", "off")):
        assert reader.execute(f"SHOW {name}").fetchone() == (value,)  # type: ignore[arg-type]


def test_lineage_views(as_reader: Connect, released: Made) -> None:
    """Which shards the live release holds, and which releases there were, with their reports."""
    reader = as_reader()
    shards = reader.execute("SELECT shard, rows, run_id FROM photos.shards ORDER BY 1").fetchall()
    assert shards == [(f"{n:05d}", 50, f"run-of-{n:05d}-v1") for n in range(4)]
    releases = reader.execute(
        "SELECT live, model, rows, report->'candidate'->>'model' IS NOT NULL FROM photos.releases"
    ).fetchall()
    assert releases == [(True, "made-up", 200, True)]
    one = reader.execute("SELECT vector_dims(embedding), model FROM photos.embeddings").fetchone()
    assert one == (32, "made-up")


@both_types
def test_similar(as_reader: Connect, released: Made) -> None:
    """similar(image_id, k) gives k others and not the image itself; an unknown id gives none."""
    reader = as_reader()
    found = [row[0] for row in reader.execute("SELECT * FROM photos.similar('00001-0007.jpg', 5)")]
    query = matrix(released.rows())[57]
    assert found == exact(released.rows(), query, 6)[1:]
    assert reader.execute("SELECT * FROM photos.similar('no such image')").fetchall() == []


def test_an_analysts_join(as_reader: Connect, released: Made) -> None:
    """Answers join with the analyst's own tables."""
    reader = as_reader()
    reader.execute("CREATE TEMP TABLE rating (image_id text, stars int)")
    reader.execute("INSERT INTO rating SELECT image_id, 5 FROM photos.images WHERE row < 3")
    joined = reader.execute(
        "SELECT count(*) FROM photos.similar('00000-0000.jpg', 200) JOIN rating USING (image_id)"
    ).fetchone()
    assert joined == (11,)


def test_a_reader_only_reads(as_reader: Connect, released: Made) -> None:
    """The reader's role can neither write, nor define, nor reach the server's files."""
    reader = as_reader()
    for statement in FORBIDDEN:
        with pytest.raises((errors.InsufficientPrivilege, errors.ObjectNotInPrerequisiteState)):
            reader.execute(statement)


def test_a_users_view_survives_a_model_switch(
    connection: psycopg.Connection, as_reader: Connect, released: Made, other: Made
) -> None:
    """A view of the user's own over `images` follows the release to a model of another size."""
    connection.execute("CREATE SCHEMA team")
    connection.execute(
        "CREATE VIEW team.captioned AS SELECT image_id, embedding, model FROM photos.images "
        "WHERE caption IS NOT NULL"
    )
    connection.execute("GRANT USAGE ON SCHEMA team TO clip_reader")
    connection.execute("GRANT SELECT ON team.captioned TO clip_reader")
    reader = as_reader()
    shape = "SELECT DISTINCT model, vector_dims(embedding) FROM team.captioned"
    assert reader.execute(shape).fetchall() == [("made-up", 32)]
    publish(connection, other)
    assert reader.execute(shape).fetchall() == [("second", 48)]
    assert len(reader.execute("SELECT * FROM photos.similar('00000-0000.jpg')").fetchall()) == 10


def test_a_users_view_beside_it_stays_private(
    connection: psycopg.Connection, as_reader: Connect, released: Made, other: Made
) -> None:
    """A release grants readers the collection's own view, not what others keep in the schema."""
    connection.execute("CREATE TABLE photos.private AS SELECT 1 AS secret")
    publish(connection, other)
    with pytest.raises(errors.InsufficientPrivilege):
        as_reader().execute("SELECT * FROM photos.private")


def test_a_fresh_connection_searches(database: str, released: Made) -> None:
    """The first statement of a connection may be a search."""
    for _ in range(2):
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("SET ROLE clip_reader")
            rows = connection.execute("SELECT * FROM photos.similar('00000-0000.jpg')").fetchall()
            assert len(rows) == 10


def test_the_functions_search_as_thoroughly_as_the_service(
    connection: psycopg.Connection, as_reader: Connect, tmp_path: Path
) -> None:
    """Also for more rows than ef_search, and under a filter: the same images in the same order."""
    made = Made(Objects(str(tmp_path / "many")))
    made.add("00000", 3_000)
    live = publish(connection, made)
    reader = as_reader()
    k = 5 * live.ef_search
    only = '{"min_width": 100}'
    for vector in matrix(made.rows())[:200:20]:
        query = str(vector.tolist())
        for call, given, where in (
            ("search(%s, k => %s)", (query, k), None),
            ("search_where(%s, %s, k => %s)", (query, only, k), Filter(min_width=100)),
        ):
            found = reader.execute(f"SELECT image_id FROM photos.{call}", given)  # type: ignore[arg-type]
            hits = search.search(connection, live, vector, k, where).hits
            assert [name for (name,) in found] == [hit.image_id for hit in hits]
