"""A killed erasure is completed by running it again, wherever it was killed."""

import hashlib
import os
import signal
import subprocess

import psycopg
import pytest

from clip_assets.erasure.erase import erase
from clip_assets.index import integrity, tables
from clip_assets.lake.lake import Lake
from clip_assets.store import erased
from tests.integration.photos import COPY, ERASED, IMAGES, Photos
from tests.integration.support import COLLECTION

# The process sends itself SIGKILL at the n-th write or removal of a file; a new process then finds
# what is left.
KILLED = """
import os, signal, sys
import psycopg
from clip_assets.erasure.erase import erase
from clip_assets.store.objects import Objects

dsn, root, image, at = *sys.argv[1:4], int(sys.argv[4])
done = 0

def counted(real):
    def call(*arguments):
        global done
        done += 1
        if done == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)
    return call

for name in ("put", "create", "delete"):
    setattr(Objects, name, counted(getattr(Objects, name)))
with psycopg.connect(dsn, autocommit=True) as connection:
    erase(connection, Objects(root), [image], "asked for", lambda line: None)
print(done)
"""


def _run(python: str, photos: Photos, at: int) -> "subprocess.CompletedProcess[str]":
    arguments = [photos.dsn, photos.objects.root, ERASED, str(at)]
    return subprocess.run(
        [python, "-c", KILLED, *arguments],
        capture_output=True, text=True, check=False, timeout=600, env=os.environ,
    )  # fmt: skip


def _hashes(photos: Photos) -> dict[str, str]:
    """sha256 of every file of the embeddings, by path."""
    return {
        entry.path: hashlib.sha256(photos.objects.get(entry.path)).hexdigest()
        for entry in photos.objects.list("embeddings")
    }


@pytest.mark.promise("Erased images do not come back")
@pytest.mark.parametrize("at", [2, 3, 8, 13, 14, 15, 16, 17, 27, 28])
def test_the_next_run_completes_a_killed_erasure(python: str, photos: Photos, at: int) -> None:
    """Whichever write it was killed at, the next run gives the same result as an uninterrupted
    one, and one complete receipt."""
    before = _hashes(photos)
    ended = _run(python, photos, at)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    with psycopg.connect(photos.dsn, autocommit=True) as connection:
        (receipt,) = erase(connection, photos.objects, [], "", lambda line: None)
        names = {r[0] for r in connection.execute("SELECT image_id FROM photos.images")}
        index = tables.find(connection, COLLECTION, photos.spec.slug)
        assert integrity.damaged_shards(connection, index) == ()
    assert len(names) == IMAGES - 2
    assert erased.open_requests(photos.objects) == []
    assert receipt.rows_deleted == {str(index.index_id): 2}
    assert {image.image_id for image in receipt.images} == {ERASED, COPY}
    with Lake(photos.objects).connect() as lake:
        rows = {name for (name,) in lake.execute("SELECT image_id FROM embeddings").fetchall()}
        files = {name for (name,) in lake.execute("SELECT file FROM commits").fetchall()}
    assert rows == names
    listed = {photos.objects.uri(entry.path) for entry in photos.objects.list("embeddings")}
    assert {path for path in listed if "/part-" in path} == files, "no older version is left"
    after = _hashes(photos)
    lost = {path for path, digest in before.items() if digest not in after.values()}
    assert {file.old_path for file in receipt.files} == lost
    for file in receipt.files:
        if file.new_path.endswith(".parquet"):
            assert (before[file.old_path], after[file.new_path]) == (
                file.old_sha256,
                file.new_sha256,
            )
    assert not [path for path in receipt.deleted if photos.objects.exists(path)]
