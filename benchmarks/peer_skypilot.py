"""The search service of SkyPilot's example of a vector database, as a peer of ours.

Runs in an environment of its own, which `benchmarks.peers` makes. It does what
`examples/vector_database/scripts/` of SkyPilot does: rows with an image in base64 in a Chroma
collection, and an `async def` endpoint that encodes the text and asks Chroma on the event loop.
"""

import argparse
from typing import Any

import chromadb
import numpy as np
import open_clip
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

COLLECTION = "clip_embeddings"
THUMBNAIL = "/9j/" + "A" * 2_000  # as long as a small JPEG in base64


class SearchQuery(BaseModel):
    text: str
    n_results: int = 5


class SearchResult(BaseModel):
    image_base64: str
    similarity: float


def build(folder: str, vectors: str) -> None:
    """Add all rows; what an interrupted run added stays."""
    rows = np.load(vectors, mmap_mode="r")
    client = chromadb.PersistentClient(path=folder)
    collection = client.get_or_create_collection(COLLECTION, metadata={"hnsw:space": "cosine"})
    at_once = min(5_000, client.get_max_batch_size())
    for first in range(collection.count(), len(rows), at_once):
        some = np.asarray(rows[first : first + at_once])
        collection.add(
            ids=[str(first + number) for number in range(len(some))],
            embeddings=some,
            metadatas=[{"image_base64": THUMBNAIL}] * len(some),
        )
        if first % 100_000 == 0:
            print(f"Chroma has {first:,} rows", flush=True)


def serve(folder: str, architecture: str, weights: str, port: int) -> None:
    model, _, _ = open_clip.create_model_and_transforms(architecture, pretrained=weights)
    model.eval()
    tokenizer = open_clip.get_tokenizer(architecture)
    collection = chromadb.PersistentClient(path=folder).get_collection(COLLECTION)
    app = FastAPI()

    @app.post("/search", response_model=list[SearchResult])
    async def search(query: SearchQuery) -> Any:
        with torch.no_grad():
            features = model.encode_text(tokenizer([query.text]))
            features /= features.norm(dim=-1, keepdim=True)
        found = collection.query(
            query_embeddings=features.numpy().tolist(),
            n_results=query.n_results,
            include=["metadatas", "distances"],
        )
        assert found["metadatas"]
        assert found["distances"]
        return [
            SearchResult(image_base64=str(row["image_base64"]), similarity=1 - distance / 2)
            for row, distance in zip(found["metadatas"][0], found["distances"][0], strict=True)
        ]

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "healthy", "collection_size": collection.count()}

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True)
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
