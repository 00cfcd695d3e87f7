"""A replica's own Postgres: fetches a snapshot, verifies, unpacks and starts it."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from clip_assets.errors import DatabaseError
from clip_assets.postgres import embedded
from clip_assets.postgres.connect import connect, migrate
from clip_assets.snapshot import manifest as manifests
from clip_assets.snapshot.archive import Step, unpack
from clip_assets.snapshot.engine import engine, own, sync
from clip_assets.snapshot.manifest import Manifest
from clip_assets.store.objects import Objects

_MARGIN = 1.1  # of disk space: the tar is a little larger than its files, and the server logs


def start(uri: str, folder: Path, step: Step) -> str:
    """Address of a running Postgres with the snapshot that `uri` names, stored below `folder`.

    A snapshot that was fetched before is not fetched again. Raises StoreError if the snapshot is
    missing or damaged, DatabaseError if it does not fit this machine or does not start.
    """
    objects, wanted = manifests.read(uri)
    _require_fit(wanted)
    cluster = folder.resolve() / wanted.snapshot
    if not cluster.exists():
        _fetch(objects, wanted, cluster, step)
    step("starting Postgres", 0, 0)
    try:
        dsn = str(embedded.start(cluster).get_uri())
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise DatabaseError(
            f"The snapshot in {cluster} did not start. See `log` in that folder; remove the folder "
            "to fetch the snapshot again."
        ) from error
    with connect(dsn) as connection:
        migrate(connection)
    return dsn


def _fetch(objects: Objects, wanted: Manifest, cluster: Path, step: Step) -> None:
    """Fetch into a temporary folder and rename it last, so that no partial cluster is started."""
    cluster.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cluster.parent).free
    if free < wanted.bytes * _MARGIN:
        raise DatabaseError(
            f"{cluster.parent} has {free >> 20} MiB free, but the snapshot needs "
            f"{wanted.bytes >> 20} MiB. Set CLIP_ASSETS_HOME to a folder on a larger disk."
        )
    temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=cluster.parent))
    try:
        unpack(objects, wanted.pieces, temporary, wanted.bytes, step)
        own(temporary)
        sync(temporary)
        _rename(temporary, cluster)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, cluster: Path) -> None:
    try:
        temporary.rename(cluster)
    except OSError:  # another process on this machine was first; use its copy
        if not cluster.exists():
            raise


def _require_fit(wanted: Manifest) -> None:
    here = engine()
    if not here.fits(wanted.engine):
        raise DatabaseError(
            f"The snapshot {wanted.snapshot} was made by {wanted.engine.text}; this is "
            f"{here.text}. Make a snapshot with this installation, or install the versions in "
            "constraints.txt on both machines."
        )
