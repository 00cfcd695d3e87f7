"""How far vectors are from those of open_clip's own transform, by the fraction that is decoded.

    python -m benchmarks.fidelity [--photos FOLDER] [--most 50]

The model is the sample's, which sees 64 pixels a side. A photo is stored at twice the kept side,
which is a multiple of 64 pixels, and decoded at a half: so only the decoding at a fraction and the
resize differ. If its sides are odd, the decoder rounds them up, which shifts the picture by a part
of a pixel.
"""

import argparse
import io
import statistics
from itertools import product
from pathlib import Path

import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from benchmarks.photos import QUALITY, photos
from clip_assets.model import ModelSpec
from clip_assets.node.decode import decode
from clip_assets.node.encoder import Encoder, load

SAMPLE = Path(__file__).parents[1] / "sample/clip-sample"
SIDE = 64
KEPT = {"3": 3.0, "2": 2.0, "1.67": 375 / 224}
PLAIN = image_transform_v2(PreprocessCfg(size=SIDE), is_train=False)


def stored(photo: Image.Image, short: int) -> bytes:
    scale = short / min(photo.size)
    size = max(short, round(photo.width * scale)), max(short, round(photo.height * scale))
    file = io.BytesIO()
    photo.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def plain(model: Encoder, data: bytes) -> NDArray:
    pixels = PLAIN(Image.open(io.BytesIO(data)).convert("RGB"))
    with torch.inference_mode():
        vector = model._model.encode_image(pixels[None])[0]
    return torch.nn.functional.normalize(vector, dim=0).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, help="a folder with more photos")
    parser.add_argument(
        "--most", type=int, default=50, help="how many of that folder, evenly chosen"
    )
    args = parser.parse_args()
    found = sorted(args.photos.iterdir()) if args.photos else []
    chosen = found[:: max(1, len(found) // args.most)]
    sources = [*photos(), *(Image.open(file).convert("RGB") for file in chosen)]
    model = load(ModelSpec(name=f"local-dir:{SAMPLE}"), "cpu")
    print(f"{len(sources)} photos; 1 - cosine")
    for (name, kept), odd in product(KEPT.items(), (0, 1)):
        far = []
        for photo in sources:
            short = min(round(SIDE * kept), min(photo.size) // 2)  # none is enlarged
            data = stored(photo, 2 * short - odd)
            pixels = decode(data, enough=short - odd).image
            far.append(1 - float(model.encode_images([pixels])[0] @ plain(model, data)))
        over = sum(one > 1e-3 for one in far)
        figures = f"median {statistics.median(far):.1e}, worst {max(far):.1e}, {over} above 1e-3"
        print(f"{name:>4} times{', odd sides' * odd:12} {figures}", flush=True)


if __name__ == "__main__":
    main()
