"""Public datasets whose collections need no address."""

from clip_assets.errors import SourceError
from clip_assets.source.config import HuggingFaceConfig

PREDEFINED = {
    # 1.3 million photographs; its terms must be accepted on the hub, so it needs HF_TOKEN.
    "imagenet": HuggingFaceConfig(type="huggingface", dataset="ILSVRC/imagenet-1k"),
    # 1,034 photographs, free to read.
    "beans": HuggingFaceConfig(type="huggingface", dataset="AI-Lab-Makerere/beans"),
}


def predefined(collection: str) -> HuggingFaceConfig:
    """The source of a predefined collection. Raises SourceError for any other."""
    if collection not in PREDEFINED:
        names = ", ".join(PREDEFINED)
        raise SourceError(
            f"{collection} has no catalog yet, and nothing says where its images are. Give --uri "
            f"(SOURCE of sky/compute_vectors.yaml), or use a predefined one: {names}."
        )
    return PREDEFINED[collection]
