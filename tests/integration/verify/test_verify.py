"""`clip-assets verify` on a sound collection, and on one broken in each of many ways."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from clip_assets import catalog
from clip_assets.cli.app import app
from clip_assets.erasure.erase import erase
from clip_assets.index import tables
from clip_assets.node import embed
from clip_assets.node.job import EmbedJob
from clip_assets.search import search
from clip_assets.source.open import open_source
from clip_assets.store import commit as commits
from clip_assets.store import parquet, paths
from clip_assets.store.commit import Commit
from tests.integration.photos import ERASED, IMAGES, Photos
from tests.integration.support import COLLECTION

Break = Callable[[Photos, psycopg.Connection], None]


def run(photos: Photos, *options: str) -> Result:
    data = str(Path(photos.objects.root).parent)
    return CliRunner().invoke(
        app,
        ["verify", COLLECTION, "--seed", "1", "--json", *options],
        env={"CLIP_ASSETS_DATA": data},
    )


def verified(photos: Photos, *options: str) -> dict[str, object]:
    """The findings; without the sample unless the options request one."""
    result = run(photos, *(options or ("--sample", "0")))
    printed = result.stdout[result.stdout.index("[\n {") :]  # click 8.1 adds stderr, with the bars
    found: dict[str, object] = json.loads(printed)[0]
    assert result.exit_code == (0 if found["sound"] else 1)
    return found


def faults(photos: Photos) -> str:
    """What is wrong, and the remedies."""
    found = verified(photos)["faults"]
    assert isinstance(found, list)
    return "\n".join(f"{one['where']}: {one['what']} {one['remedy']}" for one in found)


def commit_of(photos: Photos, number: int = 1) -> Commit:
    found = commits.read(photos.objects, photos.spec.slug, photos.current[number])
    assert found
    return found


def part_file(photos: Photos, part: int = 0, shard: int = 1) -> Path:
    return Path(photos.objects.root) / commit_of(photos, shard).parts[part].path


def rewrite_commit(photos: Photos, **changes: object) -> None:
    commit = commit_of(photos)
    path = Path(photos.objects.root) / commits.path_of(photos.spec.slug, commit)
    path.write_text(commits.seal(commit.model_copy(update=changes)).model_dump_json())


def table_of(connection: psycopg.Connection) -> str:
    return f"clip_assets.{search.live(connection, COLLECTION).table}"


def flip_a_bit(photos: Photos, _: psycopg.Connection) -> None:
    data = bytearray(part_file(photos).read_bytes())
    data[len(data) // 2] ^= 1
    part_file(photos).write_bytes(data)


def truncate(photos: Photos, _: psycopg.Connection) -> None:
    part_file(photos).write_bytes(part_file(photos).read_bytes()[:-100])


def swap_parts(photos: Photos, _: psycopg.Connection) -> None:
    first, second = part_file(photos), part_file(photos, 1)
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


def remove_a_part(photos: Photos, _: psycopg.Connection) -> None:
    part_file(photos).unlink()


def remove_the_rejects(photos: Photos, _: psycopg.Connection) -> None:
    (Path(photos.objects.root) / commit_of(photos).rejects.path).unlink()


def empty_the_commit(photos: Photos, _: psycopg.Connection) -> None:
    path = Path(photos.objects.root) / commits.path_of(photos.spec.slug, commit_of(photos))
    path.write_text("")


def edit_the_commit(photos: Photos, _: psycopg.Connection) -> None:
    path = Path(photos.objects.root) / commits.path_of(photos.spec.slug, commit_of(photos))
    path.write_text(path.read_text().replace('"device": "cpu"', '"device": "gpu"'))


def copy_the_commit_of_another_version(photos: Photos, _: psycopg.Connection) -> None:
    root, slug = Path(photos.objects.root), photos.spec.slug
    first, second = (root / commits.path_of(slug, commit_of(photos, n)) for n in (1, 2))
    first.write_bytes(second.read_bytes())


def recount_the_commit(photos: Photos, _: psycopg.Connection) -> None:
    rewrite_commit(photos, rows=commit_of(photos).rows - 1)


def drop_a_part_from_the_commit(photos: Photos, _: psycopg.Connection) -> None:
    first, *_others = commit_of(photos).parts
    rewrite_commit(photos, parts=(first,), rows=first.rows)


def repeat_a_part_in_the_commit(photos: Photos, _: psycopg.Connection) -> None:
    first, *others = commit_of(photos).parts
    rewrite_commit(photos, parts=(first, first, *others), rows=commit_of(photos).rows + first.rows)


def commit_another_model(photos: Photos, _: psycopg.Connection) -> None:
    other = commit_of(photos).identity.model_copy(update={"weights": "f" * 64})
    rewrite_commit(photos, identity=other)


def commit_another_shard(photos: Photos, _: psycopg.Connection) -> None:
    rewrite_commit(photos, shard="00002")


def scale_the_vectors(photos: Photos, _: psycopg.Connection) -> None:
    """A consistent commit of vectors that are twice as long."""
    first, *others = commit_of(photos).parts
    table = commits.read_part(photos.objects, first)
    column = parquet.vector_column(2 * parquet.vectors(table))
    at = table.schema.get_field_index("embedding")
    longer = table.set_column(at, table.schema.field(at), column)
    made = commits.put_part(photos.objects, first.path, longer)
    rewrite_commit(photos, parts=(made, *others))


def change_the_catalog(photos: Photos, _: psycopg.Connection) -> None:
    at = photos.current[1]
    rows = catalog.read_shard(photos.objects, at)
    data = parquet.to_bytes(rows.slice(0, len(rows) - 1))
    photos.objects.put(paths.catalog_shard(at), data)


def lose_the_source(photos: Photos, _: psycopg.Connection) -> None:
    source = photos.head.source.model_copy(update={"uri": f"{photos.pictures}-gone"})
    moved = photos.head.model_copy(update={"source": source})
    photos.objects.put(paths.CATALOG, moved.model_dump_json().encode())


def remove_a_catalog_shard(photos: Photos, _: psycopg.Connection) -> None:
    photos.objects.delete(paths.catalog_shard(photos.current[1]))


def list_a_shard_twice(photos: Photos, _: psycopg.Connection) -> None:
    head = photos.head
    again = head.model_copy(update={"shards": (*head.shards, head.shards[1])})
    photos.objects.put(paths.CATALOG, again.model_dump_json().encode())


def restore_an_older_catalog(photos: Photos, _: psycopg.Connection) -> None:
    """Shard 00001 was embedded again since."""
    older = photos.objects.get(paths.CATALOG)
    catalog.renew(photos.objects, COLLECTION, ["00001"])
    job = EmbedJob(
        job_id="since", run_id="run-2", collection=COLLECTION, model=photos.spec, shards=("00001",)
    )
    assert embed.run(photos.objects, job) == 0
    photos.objects.put(paths.CATALOG, older)


def delete_a_row(_: Photos, connection: psycopg.Connection) -> None:
    connection.execute(f"DELETE FROM {table_of(connection)} WHERE shard = '00001' AND row = 3")


def change_a_vector(_: Photos, connection: psycopg.Connection) -> None:
    table = table_of(connection)
    connection.execute(
        f"UPDATE {table} SET embedding = (SELECT embedding FROM {table} "
        "WHERE shard = '00000' AND row = 1) WHERE shard = '00001' AND row = 3"
    )


def empty_the_table(_: Photos, connection: psycopg.Connection) -> None:
    connection.execute(f"TRUNCATE {table_of(connection)}")


def change_the_ledger(_: Photos, connection: psycopg.Connection) -> None:
    connection.execute("UPDATE clip_assets.ledger SET digest = 'by hand' WHERE shard = '00001'")


def drop_the_graph(_: Photos, connection: psycopg.Connection) -> None:
    index_id = search.live(connection, COLLECTION).index_id
    connection.execute(f"DROP INDEX clip_assets.{tables.hnsw_name(index_id)}")


def drop_a_view(_: Photos, connection: psycopg.Connection) -> None:
    connection.execute(f"DROP VIEW {COLLECTION}.images CASCADE")


def revive_an_erased_image(photos: Photos, connection: psycopg.Connection) -> None:
    table = table_of(connection)
    connection.execute(f"CREATE TABLE kept AS TABLE {table}")
    erase(connection, photos.objects, [ERASED], "", lambda _: None)
    connection.execute(f"INSERT INTO {table} SELECT * FROM kept WHERE image_id = %s", [ERASED])


EMBED = "embeds it again"
LOAD = "reloads it"
RESTORE = "Restore the file"
BACKFILL = "`clip-assets backfill` makes it again"

BROKEN = [
    (flip_a_bit, "differs from the file that was committed", EMBED),
    (truncate, "differs from the file that was committed", EMBED),
    (swap_parts, "differs from the file that was committed", EMBED),
    (remove_a_part, "is committed but missing", EMBED),
    (remove_the_rejects, "is committed but missing", EMBED),
    (empty_the_commit, "is not a commit that this version can read", EMBED),
    (edit_the_commit, "was edited after it was written", EMBED),
    (copy_the_commit_of_another_version, "is the commit of another shard", EMBED),
    (recount_the_commit, "Its files have 10 images, not 9", EMBED),
    (drop_a_part_from_the_commit, "of the catalog are neither embedded nor rejected", EMBED),
    (repeat_a_part_in_the_commit, "more than once", EMBED),
    (commit_another_model, "Its model is", EMBED),
    (commit_another_shard, "is the commit of another shard", EMBED),
    (scale_the_vectors, "vectors are not of unit length", EMBED),
    (change_the_catalog, "does not have the rows that were listed", RESTORE),
    (remove_a_catalog_shard, "is missing", RESTORE),
    (list_a_shard_twice, "more than once", RESTORE),
    (restore_an_older_catalog, "The catalog is older than these embeddings", "backfill"),
    (lose_the_source, "source: ", "Make the source readable"),
    (delete_a_row, "Shard 00001 differs in its rows", LOAD),
    (change_a_vector, "Shard 00001 differs in its rows", LOAD),
    (empty_the_table, "Shard 00002 differs in its rows", LOAD),
    (change_the_ledger, "Shard 00001 is recorded differently", LOAD),
    (drop_the_graph, "Its HNSW is missing", BACKFILL),
    (drop_a_view, "images is missing", BACKFILL),
    (revive_an_erased_image, "It has 1 erased images", BACKFILL),
]


@pytest.mark.promise("No image is lost")
def test_a_sound_collection_is_proven_by_its_figures(photos: Photos) -> None:
    """Every count agrees, and images that are embedded again give the stored vectors."""
    found = verified(photos, "--sample", "5")
    figures = found["figures"]
    assert isinstance(figures, dict)
    assert found["faults"] == found["behind"] == []
    assert figures["images in the source"] == figures["catalog rows"] == IMAGES
    assert figures["embedded"] + figures["rejected"] == figures["indexed rows"] == IMAGES
    assert figures["sampled images"] == 5
    assert figures["lowest cosine"] > 0.9999


@pytest.mark.promise("Damage is found")
@pytest.mark.parametrize(
    ("damage", "said", "remedy"), BROKEN, ids=[one[0].__name__ for one in BROKEN]
)
def test_each_kind_of_damage_is_found_with_its_remedy(
    photos: Photos, connection: psycopg.Connection, damage: Break, said: str, remedy: str
) -> None:
    """The faults name the damage and the remedy, and the exit status is 1."""
    damage(photos, connection)
    told = faults(photos)
    assert said in told
    assert remedy in told


@pytest.mark.parametrize(
    "damage", [delete_a_row, change_a_vector, empty_the_table, change_the_ledger]
)
def test_repair_loads_damaged_rows_again(
    photos: Photos, connection: psycopg.Connection, damage: Break
) -> None:
    damage(photos, connection)
    assert verified(photos, "--sample", "0", "--repair")["faults"] == []


def test_repair_has_damaged_files_embedded_again(
    photos: Photos, connection: psycopg.Connection
) -> None:
    """The shard gets a new version, which the next job embeds; until then the old one answers."""
    flip_a_bit(photos, connection)
    assert run(photos, "--sample", "0", "--repair").exit_code == 1
    job = EmbedJob(
        job_id="again", run_id="run-2", collection=COLLECTION, model=photos.spec,
        shards=("00001",), part_rows=7,
    )  # fmt: skip
    assert embed.run(photos.objects, job) == 0
    photos.publish(connection)
    found = verified(photos)
    assert found["faults"] == []
    assert photos.head.shards[1].version == 2


def test_what_is_not_up_to_date_yet_is_no_fault(photos: Photos, tmp_path: Path) -> None:
    """An image that is new in the source is reported as new."""
    pictures = tmp_path / "pictures"
    shutil.copytree(photos.pictures, pictures)
    shutil.copy(pictures / "00001.png", pictures / "new.png")
    source = photos.head.source.model_copy(update={"uri": str(pictures)})
    moved = photos.head.model_copy(update={"source": source})
    photos.objects.put(paths.CATALOG, moved.model_dump_json().encode())
    listed = open_source(source).list()
    assert catalog.compare(photos.objects, moved, listed).new == 1
    found = verified(photos)
    assert found["faults"] == []
    assert "1 new" in str(found["behind"])


def test_a_changed_weight_is_told_by_the_sample(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another model under the same name is reported instead of compared."""
    path = paths.job(commit_of(photos).job_id)
    job = EmbedJob.model_validate_json(photos.objects.get(path))
    other = job.model_copy(update={"model": photos.spec.model_copy(update={"untrained_seed": 1})})
    photos.objects.put(path, other.model_dump_json().encode())
    found = verified(photos, "--sample", "2")
    assert "differs from that of the embeddings" in str(found["faults"])
