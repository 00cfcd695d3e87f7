"""Damaged and exchanged files are refused by whatever reads them, and change nothing.

`tests/integration/verify` has the same damage for `clip-assets verify`, and
`tests/integration/snapshot` for replicas.
"""

from pathlib import Path

import psycopg
import pytest

from clip_assets import catalog
from clip_assets.errors import ClipAssetsError
from clip_assets.index import tables
from clip_assets.lake.lake import Lake
from clip_assets.node import embed
from clip_assets.node.job import EmbedJob
from tests.integration.photos import Photos
from tests.integration.support import COLLECTION, fingerprint
from tests.integration.verify import test_verify as damage


def another_models_file(photos: Photos, _: psycopg.Connection) -> None:
    """A part with the same images, embedded by the same network with other weights."""
    other = photos.spec.model_copy(update={"untrained_seed": 1})
    job = EmbedJob(
        job_id="other", run_id="run-2", collection=COLLECTION, model=other, shards=("00001",),
        part_rows=4,
    )  # fmt: skip
    assert embed.run(photos.objects, job) == 0
    root = Path(photos.objects.root)
    (part,) = (root / "embeddings" / other.slug / "00001").glob("v00002-*/part-00000.parquet")
    damage.part_file(photos).write_bytes(part.read_bytes())


DAMAGE = [
    damage.flip_a_bit,
    damage.truncate,
    damage.swap_parts,
    damage.remove_a_part,
    damage.empty_the_commit,
    damage.edit_the_commit,
    damage.copy_the_commit_of_another_version,
    damage.commit_another_model,
    another_models_file,
]


@pytest.mark.promise("Damage is found")
@pytest.mark.parametrize("broken", DAMAGE, ids=[one.__name__ for one in DAMAGE])
def test_a_damaged_shard_is_not_loaded(
    photos: Photos, connection: psycopg.Connection, broken: damage.Break
) -> None:
    """A new version of a shard is damaged before it is loaded: the index stays as it was, and so
    do its answers; when the shard is embedded again, it is loaded."""
    catalog.renew(photos.objects, COLLECTION, ["00001"])
    _embed(photos)
    index = tables.find(connection, COLLECTION, photos.spec.slug)
    before = fingerprint(connection, index)
    broken(photos, connection)
    with pytest.raises(ClipAssetsError):
        photos.publish(connection)
    assert fingerprint(connection, index) == before
    assert damage.run(photos, "--sample", "0", "--repair").exit_code == 1
    _embed(photos)
    photos.publish(connection)
    assert damage.verified(photos)["faults"] == []


@pytest.mark.promise("Damage is found")
@pytest.mark.parametrize(
    "broken",
    [
        damage.truncate,
        damage.remove_a_part,
        damage.remove_the_rejects,
        damage.empty_the_commit,
        damage.edit_the_commit,
        damage.copy_the_commit_of_another_version,
        damage.commit_another_model,
    ],
)
def test_the_lake_does_not_open(
    photos: Photos, connection: psycopg.Connection, broken: damage.Break
) -> None:
    """Damage that DuckDB cannot detect is found before it reads."""
    broken(photos, connection)
    with pytest.raises(ClipAssetsError):
        Lake(photos.objects, photos.spec.slug).connect()


def _embed(photos: Photos) -> None:
    """Embed the shard again, in other parts than before, so that it is loaded again."""
    job = EmbedJob(
        job_id="again", run_id="run-2", collection=COLLECTION, model=photos.spec,
        shards=("00001",), part_rows=4,
    )  # fmt: skip
    assert embed.run(photos.objects, job) == 0
