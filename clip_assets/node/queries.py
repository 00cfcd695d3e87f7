"""Text queries stored with each shard, so that recall can be measured without the model.

Recall differs between text and image queries (text vectors lie apart from image vectors), so an
index must be judged with real text vectors. The node has the model loaded; the index does not.
"""

import numpy as np
import pyarrow as pa

from clip_assets.node.encoder import Encoder
from clip_assets.source import ImageRef
from clip_assets.store import parquet

PER_SHARD = 200
_BATCH = 64

# Used for shards without captions: common subjects of photo collections, in several phrasings,
# because a few queries cannot prove a high recall.
PROMPTS = [
    phrasing.format(thing)
    for phrasing in ("{}", "a photo of {}", "{} from far away", "a drawing of {}")
    for thing in (
        "a cloud", "a dog", "a cat", "a person", "a crowd", "a car", "a bicycle", "a train",
        "an airplane", "a boat", "a house", "a city street", "a bridge", "a mountain", "a beach",
        "a forest", "a flower", "food on a plate", "a cup of coffee", "a computer", "a book",
        "a chair", "a child playing", "the night sky", "snow", "text on a sign",
    )
]  # fmt: skip


def _first_line(caption: str | None) -> str:
    """The first of an image's captions, which are one per line."""
    return (caption or "").split("\n", 1)[0]


def table(refs: list[ImageRef], encoder: Encoder) -> pa.Table:
    """At most PER_SHARD captions, spread evenly over the shard; without captions, the prompts."""
    captioned = [ref for ref in refs if ref.caption]
    chosen = captioned[:: max(1, -(-len(captioned) // PER_SHARD))]
    texts = [_first_line(ref.caption) for ref in chosen] or PROMPTS
    ids: list[str | None] = [ref.image_id for ref in chosen] or [None] * len(PROMPTS)
    vectors = np.concatenate(
        [encoder.encode_text(texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH)]
    )
    embedding = parquet.vector_column(vectors)
    columns = [pa.array(ids, pa.string()), pa.array(texts, pa.string()), embedding]
    return pa.table(columns, schema=parquet.queries(encoder.dim))
