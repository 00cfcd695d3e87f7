"""Loads the model that made a commit."""

from clip_assets.errors import StoreError
from clip_assets.model import require_same, require_same_texts
from clip_assets.node.encoder import Encoder, load
from clip_assets.node.job import EmbedJob
from clip_assets.store import paths
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects

_CLAIM = "The loaded model differs from that of the embeddings"
_OTHERWISE = ", or materialize `embeddings` again with the loaded model"


def encoder_of(objects: Objects, commit: Commit) -> Encoder:
    """The model of the commit's job. Texts that it encodes may be compared with the commit's
    images; for images, see `require_same_images`.

    Raises StoreError if the loaded model is another one or the job file is missing, and the errors
    of `load`.
    """
    path = paths.job(commit.job_id)
    try:
        job = EmbedJob.model_validate_json(objects.get(path))
    except FileNotFoundError as error:
        raise StoreError(
            f"{objects.uri(path)}, which says how the model is loaded, is missing. Restore it from "
            "a copy of the data, or embed a shard again."
        ) from error
    encoder = load(job.model)
    require_same_texts(encoder.identity, commit.identity, _CLAIM, _OTHERWISE, StoreError)
    return encoder


def require_same_images(encoder: Encoder, commit: Commit) -> None:
    """Raise StoreError unless images that it encodes may be compared with the commit's: they may
    not if this version decodes images differently."""
    require_same(encoder.identity, commit.identity, _CLAIM, _OTHERWISE, StoreError)
