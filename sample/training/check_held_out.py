"""Fail if a picture of the collection is also, nearly, among the training pictures.

    python check_held_out.py --data training_set.npz --collection ../collection

Packages borrow drawings from each other without saying so; names and licences do not show it,
pixels do. Pictures are cropped to what is drawn and compared at 24 x 24.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from evaluate import read
from PIL import Image

# Root mean square distance. Borrowed drawings come within 0.02 to 0.05 of their originals; plain
# shapes such as a tooth or a heart within 0.043 of each other, whoever draws them.
TOO_CLOSE = 0.04


def thumbnail(picture: Image.Image) -> np.ndarray:
    ink = np.asarray(picture.convert("L")) < 250
    if ink.any():
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        picture = picture.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    small = picture.resize((24, 24), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel() / 255


def on_white(rgba: np.ndarray) -> Image.Image:
    page = Image.new("RGBA", rgba.shape[1::-1], "white")
    page.alpha_composite(Image.fromarray(rgba))
    return page.convert("RGB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("training_set.npz"))
    parser.add_argument("--collection", type=Path, default=Path("../collection"))
    args = parser.parse_args()

    data = np.load(args.data)
    names = json.loads(data["phrases"].tobytes())
    trained = torch.tensor(np.stack([thumbnail(on_white(rgba)) for rgba in data["pictures"]]))
    keys, pictures, _ = read(args.collection)
    shown = torch.tensor(np.stack([thumbnail(picture) for picture in pictures]))
    distance, nearest = (torch.cdist(shown, trained) / shown.shape[1] ** 0.5).min(1)
    concepts, artists = data["concepts"], data["artists"]
    for i in distance.argsort()[:12].tolist():
        j = int(nearest[i])
        name = names[str(data["codes"][concepts[j]])][0]
        print(f"{distance[i]:.3f}  {keys[i]:28} {artists[j]}: {name}")
    print(f"median {distance.median():.3f} over {len(keys)} pictures")
    if (distance < TOO_CLOSE).any():
        sys.exit("the training set holds drawings of the collection's artist")


if __name__ == "__main__":
    main()
