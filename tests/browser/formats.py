"""Files of one picture in the formats and variants that people have, made with seeds."""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from PIL import Image, ImageCms

WIDTH, HEIGHT = 72, 48
_ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
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
    yield from _other_jpegs(photo())
    yield from _pngs(photo())
    yield from _deep_pngs(photo())
    yield from _transparent_pngs(photo())
    yield from _profiles(photo())
    yield from _others(photo())
    yield from _frames(photo())
    yield from _bmps(photo())


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


def _other_jpegs(rgb: Image.Image) -> Iterator[tuple[str, str, bytes]]:
    cmyk = saved(rgb.convert("CMYK"), "JPEG", quality=95)
    at = cmyk.index(_ADOBE[:4])
    yield "jpeg CMYK", "image/jpeg", cmyk[:at] + cmyk[at + 16 :]
    yield "jpeg YCCK of Adobe", "image/jpeg", cmyk[: at + 15] + b"\2" + cmyk[at + 16 :]
    plain = saved(rgb, "JPEG", quality=95)
    for name, data in (("with", plain), ("without", plain[:2] + plain[20:])):
        yield f"jpeg {name} JFIF", "image/jpeg", data
        for transform in (b"\0", b"\1"):
            marked = data[:2] + _ADOBE + transform + data[2:]
            yield f"jpeg {name} JFIF, Adobe {transform[0]}", "image/jpeg", marked
    odd = rgb.crop((0, 0, WIDTH - 1, HEIGHT - 1))
    for subsampling in ("4:2:0", "4:2:2", "4:1:1"):
        data = saved(odd, "JPEG", subsampling=subsampling)
        yield f"jpeg {subsampling} of odd sides", "image/jpeg", data
    yield "jpeg one pixel wide", "image/jpeg", saved(rgb.crop((0, 0, 1, HEIGHT)), "JPEG")
    yield "jpeg with bytes behind its end", "image/jpeg", plain + b"more" * 99
    two = saved(rgb, "MPO", save_all=True, append_images=[Image.new("RGB", rgb.size)])
    yield "jpeg of two pictures", "image/jpeg", two
    for turn in (0, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        yield f"jpeg turned {turn}", "image/jpeg", saved(rgb, "JPEG", exif=exif)


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


def _deep_pngs(rgb: Image.Image) -> Iterator[tuple[str, str, bytes]]:
    """16 bits a sample, whose lower 8 differ from the upper 8; some have a single colour."""
    lower = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 4))
    clear = np.concatenate([np.asarray(rgb), _alpha()[..., None]], axis=-1)
    deep = clear.astype(np.uint16) * 256 + lower.astype(np.uint16)
    deep[5:15, 5:15] = deep[0, 0]
    first = [int(value) for value in deep[0, 0]]
    for name, colour, samples in (
        ("grey", 0, deep[..., :1]),
        ("RGB", 2, deep[..., :3]),
        ("grey with alpha", 4, deep[..., 2:]),
        ("RGBA", 6, deep),
    ):
        yield f"png {name} of 16 true bits", "image/png", png(samples, colour, 16)
        if colour in (0, 2):
            channels = samples.shape[-1]
            for what, bit in (("its", 0), ("the next", 1)):
                key = [*first[: channels - 1], first[channels - 1] ^ bit]
                chunks = {b"tRNS": struct.pack(f">{channels}H", *key)}
                told = f"png {name} of 16 true bits, tRNS of {what} colour"
                yield told, "image/png", png(samples, colour, 16, chunks)


def _transparent_pngs(rgb: Image.Image) -> Iterator[tuple[str, str, bytes]]:
    pixels, grey = np.asarray(rgb), np.asarray(rgb.convert("L"))
    for depth in (1, 2, 4, 8):
        samples = _deep(grey, depth)[..., None]
        value = int(samples[20, 25, 0])
        chunks = {b"tRNS": struct.pack(">H", value)}
        data = png(samples, 0, depth, chunks, adam7=True)
        yield f"png grey {depth} bit interlaced tRNS", "image/png", data
        chunks = {b"tRNS": struct.pack(">H", value | 1 << depth)}
        yield f"png grey {depth} bit tRNS too large", "image/png", png(samples, 0, depth, chunks)
    key = struct.pack(">3H", *(int(value) | 256 for value in pixels[20, 25]))
    yield "png RGB 8 bit tRNS too large", "image/png", png(pixels, 2, 8, {b"tRNS": key})
    palette = rgb.quantize(16)
    table = bytes(palette.getpalette() or ())[:48]
    samples = np.asarray(palette)[..., None]
    for name, clear in (("longer than the palette", range(20)), ("of each", range(0, 160, 10))):
        chunks = {b"PLTE": table, b"tRNS": bytes(clear)}
        yield f"png palette tRNS {name}", "image/png", png(samples, 3, 4, chunks)
    yield "png palette too short", "image/png", png(samples, 3, 8, {b"PLTE": table[:24]})
    yield "png RGB with a palette", "image/png", png(pixels, 2, 8, {b"PLTE": table})
    clear = np.concatenate([pixels, _alpha()[..., None]], axis=-1)
    background = {b"bKGD": struct.pack(">3H", 255, 0, 0)}
    yield "png RGBA with a background", "image/png", png(clear, 6, 8, background)


def _profiles(rgb: Image.Image) -> Iterator[tuple[str, str, bytes]]:
    """Profiles with transparency, with a depth, of another kind of colours, and damaged."""
    pixels, grey, alpha = np.asarray(rgb), np.asarray(rgb.convert("L")), _alpha()
    clear = np.concatenate([pixels, alpha[..., None]], axis=-1)
    grey_clear = np.stack([grey, alpha], axis=-1)
    palette = rgb.quantize(16)
    table = {b"PLTE": bytes(palette.getpalette() or ())[:48]}
    indices = np.asarray(palette)[..., None]
    key = {b"tRNS": struct.pack(">3H", *map(int, pixels[20, 25]))}
    grey_key = {b"tRNS": struct.pack(">H", int(grey[20, 25]))}
    for name, of in (("P3", profile("Display P3")), ("grey", made_profile(b"GRAY", "grey"))):
        icc = {b"iCCP": b"x\0\0" + zlib.compress(of)}
        for what, samples, colour, depth, chunks in (
            ("RGB", pixels, 2, 8, {}),
            ("RGB tRNS", pixels, 2, 8, key),
            ("RGB 16 bit", _deep(pixels, 16), 2, 16, {}),
            ("RGBA", clear, 6, 8, {}),
            ("palette", indices, 3, 4, table),
            ("palette tRNS", indices, 3, 4, table | {b"tRNS": b"\0\x80"}),
            ("grey", grey[..., None], 0, 8, {}),
            ("grey tRNS", grey[..., None], 0, 8, grey_key),
            ("grey 4 bit", _deep(grey, 4)[..., None], 0, 4, {}),
            ("grey 16 bit", _deep(grey, 16)[..., None], 0, 16, {}),
            ("grey with alpha", grey_clear, 4, 8, {}),
        ):
            data = png(samples, colour, depth, icc | chunks)
            yield f"png {what}, profile {name}", "image/png", data
        for what, image in (("RGB", rgb), ("grey", rgb.convert("L"))):
            yield f"jpeg {what}, profile {name}", "image/jpeg", saved(image, "JPEG", icc_profile=of)
    linear = made_profile(b"RGB ", "Linear sRGB")
    for kind in ("JPEG", "PNG", "WEBP"):
        data = saved(rgb, kind, icc_profile=linear)
        yield f"{kind.lower()} Linear sRGB", f"image/{kind.lower()}", data
    wide = profile("Display P3")
    yield "png half a profile", "image/png", saved(rgb, "PNG", icc_profile=wide[:200])
    transparent = saved(Image.fromarray(clear), "WEBP", lossless=True, icc_profile=wide)
    yield "webp alpha, profile P3", "image/webp", transparent
    yield "avif, profile P3", "image/avif", saved(rgb, "AVIF", quality=95, icc_profile=wide)
    yield (
        "png cICP of Display P3",
        "image/png",
        png(pixels, 2, 8, {b"cICP": bytes([12, 13, 0, 1])}),
    )


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


def _frames(rgb: Image.Image) -> Iterator[tuple[str, str, bytes]]:
    """GIFs whose one frame is smaller or larger than the GIF, and animations."""
    palette = rgb.quantize(64)
    small = palette.crop((0, 0, 40, 30))
    for name, options in (("", {}), (" transparent", {"transparency": 3})):
        data = bytearray(saved(small, "GIF", **options))
        struct.pack_into("<HH", data, 6, WIDTH, HEIGHT)
        yield f"gif{name} frame smaller", "image/gif", bytes(data)
        struct.pack_into("<HH", data, data.index(b",\0\0\0\0") + 1, 10, 8)
        yield f"gif{name} frame inside", "image/gif", bytes(data)
    data = bytearray(saved(palette, "GIF"))
    struct.pack_into("<HH", data, 6, 50, 40)
    yield "gif frame larger", "image/gif", bytes(data)
    yield "gif grey", "image/gif", saved(rgb.convert("L"), "GIF")
    other = [Image.eval(rgb, lambda value: 255 - value)]
    yield (
        "avif animated",
        "image/avif",
        saved(rgb, "AVIF", quality=95, save_all=True, append_images=other, duration=10_000),
    )
    yield "avif grey", "image/avif", saved(rgb.convert("L"), "AVIF", quality=95)


def _bmps(rgb: Image.Image) -> Iterator[tuple[str, str, bytes]]:
    pixels = np.asarray(rgb)
    wide = pixels.astype(np.uint16)
    red, green, blue = wide[..., 0] >> 3, wide[..., 1], wide[..., 2] >> 3
    yield "bmp 555", "image/bmp", bmp(red << 10 | green >> 3 << 5 | blue, 16)
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    yield "bmp 565", "image/bmp", bmp(red << 11 | green >> 2 << 5 | blue, 16, masks, kind=3)
    with_alpha = np.dstack([pixels[..., ::-1], _alpha()])
    yield "bmp 32 bit", "image/bmp", bmp(with_alpha, 32)
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    yield "bmp 32 bit with alpha", "image/bmp", bmp(with_alpha, 32, masks, kind=3, header=56)


def bmp(
    samples: np.ndarray, bits: int, masks: bytes = b"", *, kind: int = 0, header: int = 40
) -> bytes:
    """A BMP of packed samples [height, width, …], the last row first."""
    rows = samples[::-1].tobytes()
    sizes = struct.pack("<IiiHHII", header, WIDTH, HEIGHT, 1, bits, kind, len(rows))
    told = sizes + struct.pack("<iiII", 2835, 2835, 0, 0) + masks
    start = 14 + len(told)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + told + rows


def made_profile(space: bytes, name: str) -> bytes:
    """A small ICC profile of linear light: of grey, or with the primaries of sRGB."""
    white = (0.9642, 1.0, 0.8249)
    linear = b"curv" + bytes(8)
    told = name.encode() + b"\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(told)) + told + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": _xyz(white),
    }
    if space == b"GRAY":
        tags[b"kTRC"] = linear
    else:
        tags |= {b"rTRC": linear, b"gTRC": linear, b"bTRC": linear}
        tags |= {
            b"rXYZ": _xyz((0.43607, 0.22249, 0.01392)),
            b"gXYZ": _xyz((0.38515, 0.71687, 0.09708)),
            b"bXYZ": _xyz((0.14307, 0.06061, 0.71410)),
        }
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"", 2 << 24, b"mntr", space, b"XYZ ")
    return head + bytes(12) + b"acsp" + bytes(28) + _xyz(white)[8:] + bytes(48) + table + body


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


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
