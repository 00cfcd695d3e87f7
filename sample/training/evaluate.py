"""Judge a checkpoint on the held-out collection and write metrics.json.

    python evaluate.py --model ../clip-sample --collection ../collection

Pictures go through open_clip's own transform and the query is each picture's caption, so the
figures are those of a plain open_clip user.
"""

import argparse
import hashlib
import io
import json
import math
import re
import tarfile
import time
from collections import Counter
from pathlib import Path

import open_clip
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

QUERIES = [
    "a red heart", "pizza", "flag of Japan", "a dog", "sunny weather", "birthday cake", "rocket",
    "crying face",
]  # fmt: skip


def read(collection: Path) -> tuple[list[str], list[Image.Image], list[dict[str, object]]]:
    keys, pictures, about = [], [], []
    for shard in sorted(collection.glob("*.tar")):
        with tarfile.open(shard) as tar:
            for name in sorted(tar.getnames()):
                content = tar.extractfile(name).read()
                if name.endswith(".webp"):
                    keys.append(name.removesuffix(".webp"))
                    pictures.append(Image.open(io.BytesIO(content)).convert("RGB"))
                elif name.endswith(".json"):
                    about.append(json.loads(content))
    return keys, pictures, about


def ranks(scores: Tensor) -> Tensor:
    """Where column i stands for row i, the first being 0; among equals, in their middle."""
    if not scores.isfinite().all():
        raise ValueError("the scores are not numbers: the model or its preprocessing is broken")
    own = scores.diagonal()[:, None]
    return (scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2


def recalls(scores: Tensor) -> dict[str, float]:
    rank = ranks(scores)
    return {f"recall@{k}": round((rank < k).double().mean().item(), 4) for k in (1, 5, 10)}


def by_category(scores: Tensor, keys: list[str]) -> dict[str, float]:
    """recall@10 over the whole collection, for the captions of one category at a time."""
    hit = (ranks(scores) < 10).double()
    categories = [key.split("/")[0] for key in keys]
    return {
        name: round(hit[[c == name for c in categories]].mean().item(), 4)
        for name in sorted(set(categories))
    }


def words_of(text: str) -> Counter[str]:
    return Counter(re.findall(r"[a-z0-9]+", text.lower()))


def bag_of_words(queries: list[str], documents: list[str]) -> Tensor:
    """TF-IDF cosine: what searching the words, not the pictures, would give."""
    bags = [words_of(text) for text in documents]
    seen = Counter(word for bag in bags for word in bag)
    vocabulary = {word: i for i, word in enumerate(seen)}
    rarity = torch.tensor([1 + math.log(len(bags) / count) for count in seen.values()])

    def vectors(counted: list[Counter[str]]) -> Tensor:
        table = torch.zeros(len(counted), len(vocabulary))
        for row, bag in enumerate(counted):
            for word, count in bag.items():
                if word in vocabulary:
                    table[row, vocabulary[word]] = count
        return torch.nn.functional.normalize(table * rarity, dim=1)

    return vectors([words_of(text) for text in queries]) @ vectors(bags).T


def keyword_query(entry: dict[str, object]) -> str:
    """Three keywords instead of the name: what somebody types who does not know the name."""
    words = [word for word in entry["keywords"] if word.lower() != entry["caption"].lower()]
    return " ".join(words[:3]) or entry["caption"]


def training_of(weights: Path) -> dict[str, int]:
    """Seconds, pictures seen and seed, as train.py wrote them into the weights' header."""
    with safe_open(weights, "pt") as file:
        return {name: int(value) for name, value in sorted(file.metadata().items())}


def encode_ms(model: torch.nn.Module, tokenizer: object) -> float:
    """Median over single queries, on one core, tokenizing included."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = []
    for _ in range(200):
        began = time.perf_counter()
        model.encode_text(tokenizer(["a picture of a cat face"]), normalize=True)
        times.append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    return round(sorted(times)[100] * 1000, 2)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("../clip-sample"))
    parser.add_argument("--collection", type=Path, default=Path("../collection"))
    parser.add_argument("--out", type=Path, help="where to write metrics.json, if anywhere")
    args = parser.parse_args()

    weights = args.model / "open_clip_model.safetensors"
    name = f"local-dir:{args.model}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    tokenizer = open_clip.get_tokenizer(name)
    model.eval()

    keys, pictures, about = read(args.collection)
    captions = [str(entry["caption"]) for entry in about]
    images = torch.cat(
        [
            model.encode_image(
                torch.stack([preprocess(picture) for picture in pictures[at : at + 128]]),
                normalize=True,
            )
            for at in range(0, len(pictures), 128)
        ]
    )
    texts = model.encode_text(tokenizer(captions), normalize=True)

    found = {}
    for query in QUERIES:
        scores = model.encode_text(tokenizer([query]), normalize=True) @ images.T
        found[query] = [keys[i] for i in scores[0].topk(3).indices]
    cat = keys.index("nature/cat-face")
    alike = [keys[i] for i in (images[cat] @ images.T).topk(9).indices[1:]]
    typed = [keyword_query(entry) for entry in about]
    metrics = {
        "pictures": len(keys),
        "text_to_image": recalls(texts @ images.T),
        "text_to_image_recall@10_by_category": by_category(texts @ images.T, keys),
        "image_to_text": recalls(images @ texts.T),
        "chance": {f"recall@{k}": round(k / len(keys), 4) for k in (1, 5, 10)},
        "bag_of_words": {
            "caption_in_captions": recalls(bag_of_words(captions, captions)),
            "keywords_in_captions": recalls(bag_of_words(typed, captions)),
        },
        "keywords_to_image": recalls(
            model.encode_text(tokenizer(typed), normalize=True) @ images.T
        ),
        "queries": found,
        "like_nature/cat-face": alike,
        "text_encode_ms_one_core": encode_ms(model, tokenizer),
        "training": training_of(weights),
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "weights_bytes": weights.stat().st_size,
    }
    text = json.dumps(metrics, indent=2, ensure_ascii=False)
    print(text)
    if args.out:
        partial = args.out.with_suffix(".tmp")
        partial.write_text(text + "\n")
        partial.replace(args.out)


if __name__ == "__main__":
    main()
