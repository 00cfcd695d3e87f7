"""One image as it is in its source: a file, a tar member, a parquet row, or on the hub."""

from pyarrow import compute

from clip_assets import catalog
from clip_assets.source.open import open_source
from clip_assets.source.packed import is_tar
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion


def is_inside(uri: str) -> bool:
    """Whether the image is only a part of the file at this address."""
    return uri.startswith("hf://") or is_tar(uri) or uri.endswith((".parquet", ".arrow"))


def read(objects: Objects, collection: str, at: ShardVersion, image_id: str) -> bytes:
    """The bytes of an image of a shard's version, found by its row in the catalog below `objects`.

    Raises FileNotFoundError if the catalog has no such image, another OSError if it cannot be read,
    StoreError if there is no catalog, and SourceError if the source cannot be reached.
    """
    source = catalog.require(objects, collection).source
    rows = catalog.read_shard(objects, at)
    refs = catalog.live_refs(rows.filter(compute.equal(rows.column("image_id"), image_id)))
    if not refs:
        raise FileNotFoundError(f"the catalog has no image {image_id}")
    (data,) = open_source(source).read(refs[:1])
    if isinstance(data, OSError):
        raise data
    return data
