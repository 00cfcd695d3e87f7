"""Encode texts: `python -m clip_assets.node.texts`, with a `TextJob` as JSON on stdin.

Writes float32[texts, dim], unit vectors, to stdout in numpy's format.
"""

import io
import sys

import numpy as np

from clip_assets.model import require_same_texts
from clip_assets.node import encoder
from clip_assets.node.job import TextJob
from clip_assets.node.program import explained

_BATCH = 64


def main() -> None:
    """Read the job from stdin, and write the vectors to stdout."""
    asked = TextJob.model_validate_json(sys.stdin.buffer.read())
    with explained():
        model = encoder.load(asked.spec)
        require_same_texts(
            model.identity,
            asked.identity,
            "The model that is loaded to encode judged queries differs from the index's",
            "",
        )
    parts = [
        model.encode_text(asked.texts[start : start + _BATCH])
        for start in range(0, len(asked.texts), _BATCH)
    ]
    # Through a buffer, because numpy writes to files by a copied descriptor, which fails on pipes.
    file = io.BytesIO()
    np.save(file, np.concatenate(parts))
    sys.stdout.buffer.write(file.getbuffer())


if __name__ == "__main__":
    main()
