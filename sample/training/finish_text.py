"""Go on with the text tower alone, against the finished picture tower's fixed vectors.

    python finish_text.py --run large --steps 550

Texts are a hundredth of the work of pictures, so minutes here are worth an hour of train.py to rare
words. Every training picture is embedded as it is and twice augmented; then only texts learn.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from augment import plain
from batches import KEYWORDS_TOO, Captions, Drawer, load
from torch import Tensor
from torch.nn.functional import normalize
from train import contrast, encode_short, export, follow, pace, side_of

VIEWS = 2


@torch.no_grad()
def pictured(model: torch.nn.Module, drawer: Drawer, side: int) -> Tensor:
    """Vectors of every picture, one row of views each: as it is, then augmented."""
    pictures = drawer.collection.pictures
    parts = np.array_split(np.arange(len(pictures)), math.ceil(len(pictures) / 256))
    views = []
    for view in range(1 + VIEWS):
        rows = []
        for part in parts:
            seen = drawer.draw(part, side) if view else plain(pictures[part], side)
            with torch.autocast("cpu", torch.bfloat16):
                vectors = model.encode_image(seen)
            rows.append(normalize(vectors.float(), dim=-1))
        views.append(torch.cat(rows))
    return torch.stack(views, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("training_set.npz"))
    parser.add_argument("--config", type=Path, default=Path("../clip-sample/open_clip_config.json"))
    parser.add_argument("--run", type=Path, default=Path("large"))
    parser.add_argument("--steps", type=int, default=550)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_num_threads(2)
    name = f"local-dir:{args.config.parent}"
    state = torch.load(args.run / "checkpoint.pt")
    model, average = (open_clip.create_model(name, load_weights=False) for _ in range(2))
    model.load_state_dict(state["average"])
    average.load_state_dict(state["average"])
    model.eval().visual.requires_grad_(False)
    side = side_of(model)
    collection = load(args.data, side)
    captions = Captions(collection, model.context_length, KEYWORDS_TOO)
    drawer = Drawer(collection, captions, left_out="")
    began = time.process_time()
    vectors = pictured(model, drawer, side)
    print(f"{tuple(vectors.shape)} after {time.process_time() - began:.0f} CPU-s", flush=True)

    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, args.lr, (0.9, 0.98), weight_decay=0.01)
    losses: list[float] = []
    for step in range(args.steps):
        rng = np.random.default_rng([args.seed, step])
        concepts, rows, also_true = drawer.choose(args.batch, rng)
        picked = [drawer.pick(c, rng) for c in concepts]
        images = vectors[picked, rng.integers(1 + VIEWS, size=args.batch)]
        texts = encode_short(model, rows)
        loss = contrast(images, texts, also_true, model.logit_scale.exp())
        optimizer.param_groups[0]["lr"] = args.lr * pace(step / args.steps, cool=0.9)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        follow(average, model, 0.98)
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            print(step + 1, round(sum(losses) / len(losses), 4), flush=True)
            losses = []
    about = {
        "cpu_seconds": state["total"]["cpu_seconds"] + time.process_time() - began,
        "pictures": state["total"]["pictures"],
        "text_steps": args.steps,
        "seed": args.seed,
    }
    export(args.run / "open_clip_model.safetensors", average, captions.used, about)


if __name__ == "__main__":
    main()
