"""Vectors of the fast path from bytes to pixels are those that open_clip's own transform gives."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from clip_assets.model import ModelSpec
from clip_assets.node.decode import decode
from clip_assets.node.encoder import load

SAMPLE = Path(__file__).parents[3] / "sample"
PHOTO = Path(mpl.get_data_path()) / "sample_data/grace_hopper.jpg"


def _jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def _made(width: int, height: int, seed: int) -> Image.Image:
    """A picture with the spectrum of photos: as much contrast at every scale."""
    random = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 128, np.float32)
    for cells in (3, 9, 27, 81, 243):
        noise = Image.fromarray(random.integers(0, 256, (cells, cells, 3), np.uint8))
        larger = noise.resize((width, height), Image.Resampling.BICUBIC)
        picture += (np.asarray(larger, np.float32) - 128) / 2
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def _pictures() -> Iterator[bytes]:
    """Photos and drawings of many sizes, formats and shapes."""
    photo = Image.open(PHOTO).convert("RGB")
    for width in (120, 300, 512, 800, 1030, 1400, 2200):
        yield _jpeg(photo.resize((width, width * 7 // 6), Image.Resampling.BICUBIC))
    for seed, size in enumerate([(64, 64), (500, 375), (375, 500), (1100, 825), (1500, 300)]):
        yield _jpeg(_made(*size, seed))
    for options in ({"quality": 30}, {"progressive": True}, {"subsampling": 0}):
        yield _jpeg(photo.resize((1100, 1283)), **options)
    yield _jpeg(photo.resize((1100, 1283)).convert("L"))
    for kind in ("PNG", "WEBP", "TIFF"):
        file = io.BytesIO()
        photo.save(file, kind)
        yield file.getvalue()
    with tarfile.open(min((SAMPLE / "collection").glob("*.tar"))) as tar:
        drawn = [member for member in tar if member.name.endswith(".webp")][:20]
        for member in drawn:
            file_of = tar.extractfile(member)
            assert file_of
            yield file_of.read()


def test_vectors_are_those_of_open_clips_transform() -> None:
    """A cosine of at least 0.999 for each picture, and of 0.9999 for half of them."""
    encoder = load(ModelSpec(name=f"local-dir:{SAMPLE / 'clip-sample'}"), "cpu")
    transform = image_transform_v2(PreprocessCfg(size=64), is_train=False)
    cosines = []
    for data in _pictures():
        found = encoder.encode_images([decode(data, enough=encoder.enough).image])[0]
        whole = transform(Image.open(io.BytesIO(data)).convert("RGB"))
        with torch.inference_mode():
            expected = encoder._model.encode_image(whole[None])[0].numpy()
        cosines.append(float(found @ expected / np.linalg.norm(expected)))
    print(f"1 - cosine: median {1 - np.median(cosines):.1e}, worst {1 - min(cosines):.1e}")
    assert len(cosines) > 30
    assert min(cosines) > 0.999
    assert np.median(cosines) > 0.9999
