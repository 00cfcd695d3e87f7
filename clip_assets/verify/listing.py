"""Compares the catalog with its own digests and with the source."""

from collections.abc import Callable, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from clip_assets import catalog
from clip_assets.catalog import Catalog
from clip_assets.errors import StoreError
from clip_assets.source import ImageRef
from clip_assets.store import paths
from clip_assets.store.objects import Objects
from clip_assets.verify.finding import Fault, Finding, Remedy, what_of


def verify_catalog(objects: Objects, head: Catalog, on_shard: Callable[[], None]) -> Finding:
    """Verify that each shard's file has the rows in the head, and that no image is listed twice."""
    faults: list[Fault] = []
    names: list[pa.ChunkedArray] = []
    for shard in head.shards:
        try:
            names.append(catalog.read_verified(objects, shard).column("image_id"))
        except StoreError as error:
            faults.append(Fault(f"catalog shard {shard.shard}", what_of(error), Remedy.RESTORE))
        on_shard()
    faults += [
        Fault(objects.uri(paths.CATALOG), f"It lists {name} more than once.", Remedy.RESTORE)
        for name in _repeated(names)
    ]
    rows = sum(len(column) for column in names)
    return Finding({"catalog shards": len(head.shards), "catalog rows": rows}, tuple(faults))


def verify_source(objects: Objects, head: Catalog, listed: Iterable[ImageRef]) -> Finding:
    """What has changed in the source since the catalog was made. Needs a catalog without faults."""
    found = catalog.compare(objects, head, listed)
    counts = {"new": found.new, "changed": found.changed, "gone": found.gone}
    changes = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    behind = f"In the source, since the catalog was made: {changes}." if changes else ""
    return Finding({"images in the source": found.listed}, behind=(behind,) if changes else ())


def _repeated(columns: Iterable[pa.ChunkedArray]) -> list[str]:
    chunks = [chunk for column in columns for chunk in column.chunks]
    counted = pc.value_counts(pa.chunked_array(chunks, pa.string()))
    return [one["values"] for one in counted.filter(pc.greater(counted.field(1), 1)).to_pylist()]
