"""`clip back` of clip-retrieval as a peer of our service, in an environment of its own.

`benchmarks.peers` makes the environment. The index is faiss' HNSW with 16 links, as ours has; the
server is started by clip-retrieval's own function, on loopback only.
"""

import argparse
import json
import sys
from pathlib import Path
from unittest.mock import MagicMock

import faiss
import flask
import numpy as np
import pandas as pd

AT_ONCE = 10_000
UNUSED = ("braceexpand", "clip", "sentence_transformers", "wandb", "webdataset")
"""What clip-retrieval imports for embedding images and for other models, which is gigabytes."""


def build(folder: Path, vectors: str) -> None:
    """The folder that `clip index` would make of these rows."""
    rows = np.load(vectors, mmap_mode="r")
    index = faiss.index_factory(rows.shape[1], "HNSW16,Flat", faiss.METRIC_INNER_PRODUCT)
    for first in range(0, len(rows), AT_ONCE):
        index.add(np.asarray(rows[first : first + AT_ONCE]))
        if first % 100_000 == 0:
            print(f"faiss has {first:,} rows", flush=True)
    (folder / "metadata").mkdir(parents=True, exist_ok=True)
    names = [f"folder/image-{number:09d}.jpg" for number in range(len(rows))]
    captions = [f"caption of {name}" for name in names]
    table = pd.DataFrame({"image_path": names, "caption": captions})
    table.to_parquet(folder / "metadata" / "metadata_0.parquet")
    faiss.write_index(index, str(folder / "image.index"))
    (folder / "indices.json").write_text(json.dumps({"bench": str(folder)}))


def serve(folder: Path, architecture: str, weights: str, port: int) -> None:
    sys.modules.update({name: MagicMock() for name in UNUSED})
    from clip_retrieval.clip_back import clip_back

    run = flask.Flask.run
    # It asks for all addresses of the machine.
    flask.Flask.run = lambda app, **asked: run(app, **{**asked, "host": "127.0.0.1"})
    clip_back(
        indices_paths=str(folder / "indices.json"),
        port=port,
        clip_model=f"open_clip:{architecture}/{weights}",
        use_jit=False,
        enable_mclip_option=False,
        provide_aesthetic_embeddings=False,
        columns_to_return=["image_path", "caption"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--vectors", help="build from these float32 rows, a .npy")
    parser.add_argument("--architecture")
    parser.add_argument("--weights")
    parser.add_argument("--port", type=int)
    arguments = parser.parse_args()
    if arguments.vectors:
        build(arguments.folder, arguments.vectors)
    else:
        serve(arguments.folder, arguments.architecture, arguments.weights, arguments.port)


if __name__ == "__main__":
    main()
