"""Files of one picture in the formats and variants that people have, made with seeds."""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from PIL import Image, ImageCms

WIDTH, HEIGHT = 72, 48
_XYZ = {
    "Display P3": [(0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841)],
    "Adobe RGB": [(0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)],
}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2))  # fmt: skip


def photo() -> Image.Image:
    """Smooth colours with soft noise and a few edges, as photos have them."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / np.array([HEIGHT, WIDTH])[:, None, None]
    waves = [np.sin(5 * x + 2 * y), np.cos(3 * x - 4 * y), np.sin(4 * y) * np.cos(2 * x)]
    noise = np.random.default_rng(7).normal(0, 4, (HEIGHT, WIDTH, 1))
    pixels = np.stack([128 + 80 * wave for wave in waves], axis=-1) + noise
    pixels[10:30, 20:36] = (200, 60, 50)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def files() -> Iterator[tuple[str, str, bytes]]:
    """Name, media type and bytes of each file."""
    yield from _jpegs(photo())
    yield from _pngs(photo())
    yield from _others(photo())


def _jpegs(rgb: Image.Image) -> Iterator[tuple[str, str, bytes]]:
    options = product(("4:4:4", "4:2:2", "4:2:0"), (False, True), (60, 95))
    for subsampling, progressive, quality in options:
        name = f"jpeg {subsampling} quality {quality}{' progressive' if progressive else ''}"
        yield (
            name,
            "image/jpeg",
            saved(rgb, "JPEG", subsampling=subsampling, progressive=progressive, quality=quality),
        )
    yield "jpeg in RGB", "image/jpeg", saved(rgb, "JPEG", keep_rgb=True)
    yield "jpeg grey", "image/jpeg", saved(rgb.convert("L"), "JPEG")
    yield "jpeg CMYK of Adobe", "image/jpeg", saved(rgb.convert("CMYK"), "JPEG", quality=95)
    yield "jpeg restart markers", "image/jpeg", saved(rgb, "JPEG", restart_marker_blocks=3)
    yield "jpeg without its last bytes", "image/jpeg", saved(rgb, "JPEG")[:-12]
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        yield f"jpeg turned {turn}", "image/jpeg", saved(rgb, "JPEG", exif=exif)
    for space in _XYZ:
        yield f"jpeg {space}", "image/jpeg", saved(rgb, "JPEG", icc_profile=profile(space))
        yield f"png {space}", "image/png", saved(rgb, "PNG", icc_profile=profile(space))
        yield f"webp {space}", "image/webp", saved(rgb, "WEBP", icc_profile=profile(space))


def _pngs(rgb: Image.Image) -> Iterator[tuple[str, str, bytes]]:
    pixels = np.asarray(rgb)
    grey, alpha = np.asarray(rgb.convert("L")), _alpha()
    for depth in (1, 2, 4, 8, 16):
        samples = _deep(grey, depth)[..., None]
        yield f"png grey {depth} bit", "image/png", png(samples, 0, depth)
        yield f"png grey {depth} bit interlaced", "image/png", png(samples, 0, depth, adam7=True)
        trns = struct.pack(">H", int(samples[20, 25, 0]))
        yield f"png grey {depth} bit tRNS", "image/png", png(samples, 0, depth, {b"tRNS": trns})
    for depth in (1, 2, 4, 8):
        palette = rgb.quantize(1 << depth)
        table = bytes(palette.getpalette() or ())[: 3 << depth]
        samples = np.asarray(palette)[..., None]
        chunks = {b"PLTE": table}
        yield f"png palette {depth} bit", "image/png", png(samples, 3, depth, chunks)
        yield (
            f"png palette {depth} bit interlaced",
            "image/png",
            png(samples, 3, depth, chunks, adam7=True),
        )
        chunks = {b"PLTE": table, b"tRNS": bytes([0, 128])}
        yield f"png palette {depth} bit tRNS", "image/png", png(samples, 3, depth, chunks)
    for depth in (8, 16):
        deep, clear = _deep(pixels, depth), _deep(alpha, depth)[..., None]
        with_alpha = np.concatenate([deep, clear], axis=-1)
        grey_alpha = np.concatenate([_deep(grey, depth)[..., None], clear], axis=-1)
        for adam7 in (False, True):
            how = f"{depth} bit{' interlaced' if adam7 else ''}"
            yield f"png RGB {how}", "image/png", png(deep, 2, depth, adam7=adam7)
            yield f"png RGBA {how}", "image/png", png(with_alpha, 6, depth, adam7=adam7)
            yield f"png grey with alpha {how}", "image/png", png(grey_alpha, 4, depth, adam7=adam7)
        trns = struct.pack(">HHH", *map(int, deep[20, 25]))
        yield f"png RGB {depth} bit tRNS", "image/png", png(deep, 2, depth, {b"tRNS": trns})
    yield "png sRGB chunk", "image/png", png(pixels, 2, 8, {b"sRGB": b"\0"})
    yield "png gAMA of sRGB", "image/png", png(pixels, 2, 8, {b"gAMA": struct.pack(">I", 45455)})
    yield "png gAMA 1.0", "image/png", png(pixels, 2, 8, {b"gAMA": struct.pack(">I", 100000)})


def _others(rgb: Image.Image) -> Iterator[tuple[str, str, bytes]]:
    clear = rgb.copy()
    clear.putalpha(Image.fromarray(_alpha()))
    other = Image.eval(rgb, lambda value: 255 - value)
    both = {"save_all": True, "append_images": [other], "duration": 10_000}
    for quality in (60, 95):
        yield f"webp quality {quality}", "image/webp", saved(rgb, "WEBP", quality=quality)
        yield f"avif quality {quality}", "image/avif", saved(rgb, "AVIF", quality=quality)
    yield "webp lossless", "image/webp", saved(rgb, "WEBP", lossless=True)
    yield "webp alpha", "image/webp", saved(clear, "WEBP", lossless=True)
    yield "webp lossy alpha", "image/webp", saved(clear, "WEBP", quality=90)
    yield "webp animated", "image/webp", saved(rgb, "WEBP", lossless=True, **both)
    yield "avif 4:4:4", "image/avif", saved(rgb, "AVIF", quality=95, subsampling="4:4:4")
    yield "avif alpha", "image/avif", saved(clear, "AVIF", quality=95)
    yield "gif", "image/gif", saved(rgb.quantize(64), "GIF")
    yield "gif not interlaced", "image/gif", saved(rgb.quantize(64), "GIF", interlace=0)
    yield "gif transparent", "image/gif", saved(rgb.quantize(64), "GIF", transparency=3)
    yield "gif animated", "image/gif", saved(rgb.quantize(64), "GIF", **both)
    sideways = Image.Exif()
    sideways[0x0112] = 6
    for kind in ("PNG", "WEBP", "AVIF"):
        name = kind.lower()
        yield f"{name} turned 6", f"image/{name}", saved(rgb, kind, exif=sideways)
    for mode in ("1", "L", "P", "RGB"):
        yield f"bmp {mode}", "image/bmp", saved(rgb.convert(mode), "BMP")


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """The image as Pillow writes it."""
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def profile(space: str) -> bytes:
    """An ICC profile with this space's primaries, and sRGB's curve."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for tag, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), _XYZ[space], strict=True):
        entry = data.index(tag, 128)
        (start,) = struct.unpack_from(">I", data, entry + 4)
        struct.pack_into(">3i", data, start + 8, *(round(value * 65536) for value in values))
    # Profiles are told apart by their description, which is UTF-16.
    return bytes(data).replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))


def png(
    samples: np.ndarray,
    colour: int,
    depth: int,
    chunks: dict[bytes, bytes] | None = None,
    *,
    adam7: bool = False,
) -> bytes:
    """A PNG of samples [height, width, channels]; Pillow writes neither all depths nor Adam7."""
    height, width, _ = samples.shape
    passes: Sequence[tuple[int, int, int, int]] = _ADAM7 if adam7 else ((0, 0, 1, 1),)
    rows = b"".join(
        b"\0" + _packed(row, depth)
        for x, y, across, down in passes
        for row in samples[y::down, x::across]
    )
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, adam7)
    parts = [
        (b"IHDR", header),
        *(chunks or {}).items(),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def _packed(row: np.ndarray, depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    bits = np.unpackbits(row.astype(np.uint8).reshape(-1, 1), axis=1)[:, 8 - depth :]
    return np.packbits(bits).tobytes()


def _deep(values: np.ndarray, depth: int) -> np.ndarray:
    """8-bit samples at another depth."""
    return values.astype(np.uint16) * 257 if depth == 16 else values >> (8 - depth)


def _alpha() -> np.ndarray:
    return np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
