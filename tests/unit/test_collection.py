"""What a collection's settings become."""

from clip_assets.collection import Collection
from clip_assets.model import ModelSpec
from clip_assets.node.job import EmbedJob

SPEC = ModelSpec(name="ViT-B-32", pretrained="laion2b_s34b_b79k")


def test_a_job_is_told_every_setting_it_needs() -> None:
    """No setting that changes what a job writes is left at the node's default."""
    settings = {"part_rows": 7, "batch_size": 3, "max_reject_share": 0.25, "thumbnails": False}
    collection = Collection.model_validate({"name": "photos", "spec": SPEC, **settings})
    expected = {"job_id": "id", "run_id": "run", "collection": "photos", "model": SPEC}
    job = collection.job("id", "run", ["00000", "00001"])
    assert job == EmbedJob.model_validate({**expected, "shards": ("00000", "00001"), **settings})
