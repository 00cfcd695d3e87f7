import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from clip_assets.node.decode import QUERY, Limits, Rejected, decode
from clip_assets.node.resize import resized, thumbnail
from tests.browser.formats import made_profile, png

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JXL", "JPEG2000")
NO_IMAGE = "not a JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, HEIF, JXL or JPEG2000 image"


def _photo(mode: str = "RGB") -> Image.Image:
    blocks = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((64, 48), Image.Resampling.BICUBIC).convert(mode)


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _black_png(width: int, height: int, rows: int | None = None) -> bytes:
    """A 1-bit PNG, compressed row by row: 100 megapixels take a few kilobytes.

    Its data end after so many rows, if they are given.
    """
    packed = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    many = height if rows is None else rows
    body = b"".join(packed.compress(row) for _ in range(many)) + packed.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _pixels(data: bytes) -> Any:
    return np.asarray(decode(data).image)


def _reason(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(Rejected) as caught:
        decode(data, limits) if limits else decode(data)
    return caught.value.reason


def test_an_rgb_jpeg_decodes_exactly_as_pillow_does() -> None:
    """The pixels equal Pillow's own, so vectors are those the model's authors would get."""
    data = _file(_photo(), "JPEG")
    assert np.array_equal(_pixels(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize(
    "options",
    [{"subsampling": n} for n in (0, 1, 2)]
    + [{"progressive": True}, {"quality": 20}, {"restart_marker_blocks": 3}, {"keep_rgb": True}],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_has_the_pixels_of_pillow_at_every_fraction(
    mode: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """simplejpeg gives the same ones as Pillow, which decodes what simplejpeg refuses."""
    data = _file(_photo(mode).resize((643, 481), Image.Resampling.BICUBIC), "JPEG", **options)
    enough = (None, 240, 120, 60, 10)
    fast = [decode(data, enough=side) for side in enough]
    monkeypatch.setattr("simplejpeg.decode_jpeg", lambda *_, **__: 1 / 0)
    for found, side in zip(fast, enough, strict=True):
        assert np.array_equal(found.pixels, decode(data, enough=side).pixels)
    sides = [found.pixels.shape for found in fast]
    assert sides == [(481, 643, 3), (241, 322, 3), (121, 161, 3), (61, 81, 3), (61, 81, 3)]
    assert {(found.width, found.height) for found in fast} == {(643, 481)}


@pytest.mark.parametrize("size", [(100, 75), (64, 48), (33, 90), (7, 5)])
def test_pixels_are_resized_as_pillow_does(size: tuple[int, int]) -> None:
    """No sample differs by more than one level."""
    photo = _photo().resize((200, 150))
    expected = np.asarray(photo.resize(size, Image.Resampling.BICUBIC)).astype(int)
    found = resized(np.array(photo), size[1], size[0]).astype(int)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_decodes_to_rgb(kind: str) -> None:
    """Each supported format gives RGB pixels and the size a viewer shows."""
    found = decode(_file(_photo(), kind))
    assert (found.image.mode, found.image.size) == ("RGB", (64, 48))
    assert (found.width, found.height) == (64, 48)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_rejected(kind: str) -> None:
    """A truncated file is rejected with its format named; it is never decoded half grey."""
    data = _file(_photo(), kind)
    for keep in (12, 100, len(data) // 2):
        # Of a TIFF that ends before its header, Pillow does not tell what is wrong.
        reason = _reason(data[:keep]).split(",")[0]
        assert reason in (f"truncated {kind}", f"damaged {kind}")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (bytes(1000), NO_IMAGE),
        (b"<!doctype html><title>404</title>", NO_IMAGE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", NO_IMAGE),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NO_IMAGE),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "damaged HEIF"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", NO_IMAGE),
        (b"\xff\xd8\xff" + bytes(50), "damaged JPEG"),
    ],
)
def test_a_file_that_is_not_an_image_is_rejected_as_such(data: bytes, reason: str) -> None:
    """Empty files, other file types and damaged images get different reasons."""
    assert _reason(data) == reason


def test_uploads_may_be_what_phones_and_browsers_make() -> None:
    """Formats that only the pipeline decodes are rejected for uploaded queries."""
    for kind in QUERY.formats:
        assert decode(_file(_photo(), kind), QUERY).width == 64
    for kind in set(FORMATS) - set(QUERY.formats):
        wanted = "not a JPEG, PNG, WEBP, AVIF, HEIF or JXL image"
        assert _reason(_file(_photo(), kind), QUERY) == wanted


def test_a_format_without_its_decoder_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the optional package, a HEIC photo is rejected with the command that helps."""
    data = _file(_photo(), "HEIF")
    monkeypatch.delitem(Image.OPEN, "HEIF")
    assert _reason(data) == "HEIF needs a decoder: pip install 'clip-assets[heif]'"


def test_a_jpeg_that_lacks_its_last_bytes_is_decoded_as_viewers_show_it() -> None:
    """A few missing rows do not matter; if much is missing, the file is rejected."""
    photo = _photo().resize((640, 480))
    for options in ({}, {"progressive": True}):
        data = _file(photo, "JPEG", **options)
        whole = _pixels(data).astype(int)
        for keep in (len(data) - 2, len(data) - 40):
            assert np.abs(_pixels(data[:keep])[:440].astype(int) - whole[:440]).max() < 40
    assert _reason(_file(photo, "JPEG")[: len(data) // 2]) == "truncated JPEG"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_that_ends_early_is_no_black_picture(mode: str) -> None:
    """What is black to its last row is decoded, what lacks rows is not, as of a JPEG."""
    assert _pixels(_file(Image.new(mode, (37, 41)), "PNG")).shape == (41, 37, 3)
    assert _pixels(_black_png(500, 500, rows=480)).shape == (500, 500, 3)
    assert _reason(_black_png(500, 500, rows=470)) == "truncated PNG"
    assert _reason(_black_png(500, 500, rows=1)) == "truncated PNG"


def test_a_jpeg_over_the_limit_is_decoded_at_half_its_size() -> None:
    """It has the size that a viewer shows, the pixels of the half, and a limit of its own."""
    data = _file(_photo().resize((640, 480)), "JPEG")
    half = decode(data, Limits(max_pixels=640 * 480 - 1))
    assert (half.width, half.height, half.image.size) == (640, 480, (320, 240))
    expected = np.asarray(decode(data).image.reduce(2)).astype(int)
    assert np.abs(np.asarray(half.image).astype(int) - expected).mean() < 2
    limits = Limits(max_pixels=320 * 240 - 1, remedy="; raise max_megapixels")
    assert _reason(data, limits).endswith("million, at most 0.307196; raise max_megapixels)")
    assert _reason(_file(_photo(), "PNG"), Limits(max_pixels=3000)).startswith("too many pixels")


def _profile_of_swapped_colours() -> bytes:
    """An RGB profile whose red primary is green and the other way round, unlike any screen's."""
    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    srgb = bytearray(srgb.replace(b"rXYZ", b"temp").replace(b"gXYZ", b"rXYZ"))
    return bytes(
        srgb.replace(b"temp", b"gXYZ").replace(
            "sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be")
        )
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_colours_are_those_of_the_profile(kind: str) -> None:
    """A file with a profile of its own is shown in the colours of that profile."""
    photo = Image.new("RGB", (32, 32), (220, 30, 30))
    red, green, blue = decode(
        _file(photo, kind, icc_profile=_profile_of_swapped_colours())
    ).image.getpixel((16, 16))  # type: ignore[misc]
    assert green > 200 and red < 60 and blue < 60


def test_an_srgb_or_damaged_profile_changes_nothing() -> None:
    """Pixels of a photo in sRGB stay exactly as they are; an unusable profile is ignored."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = _pixels(_file(_photo(), "PNG"))
    for profile in (srgb, b"garbage", srgb[:200]):
        assert np.array_equal(_pixels(_file(_photo(), "PNG", icc_profile=profile)), plain)


def test_a_12_bit_tiff_is_as_bright_as_its_header_says() -> None:
    """White is the largest value of the bits in use, not of the 16 that hold them."""
    grey = np.linspace(0, 4095, 64 * 8, dtype=np.uint16).reshape(8, 64).astype(int)
    even, odd = grey[:, 0::2], grey[:, 1::2]
    packed = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], -1).astype(np.uint8)
    found = _pixels(_tiff(64, 8, 12, packed.tobytes()))[..., 0].astype(int)
    assert np.abs(found - grey * 255 / 4095).max() <= 1


def _tiff(width: int, height: int, bits: int, pixels: bytes) -> bytes:
    tags = [(256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, 1),
            (273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(pixels))]  # fmt: skip
    directory = struct.pack("<H", len(tags))
    for tag, kind, value in tags:
        directory += struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value)
    begin = struct.pack("<I", 8 + len(pixels))
    return b"II*\0" + begin + pixels + directory + bytes(4)


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((60_000, 1), "aspect ratio 60000:1 (at most 100:1)"),
        ((1, 5_000), "aspect ratio 5000:1 (at most 100:1)"),
        ((12_000, 12_000), "too many pixels (144 million, at most 100)"),
        ((20_000, 20_000), "too many pixels (400 million, at most 100)"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_rejected_by_their_header(
    size: tuple[int, int], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Extreme shapes and sizes are rejected before any pixel is decoded."""
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("decoded"))
    assert _reason(_black_png(*size)) == reason


@pytest.mark.parametrize(
    "_action",
    [
        pytest.param(action, marks=pytest.mark.filterwarnings(action))
        for action in ("ignore", "error")
    ],
)
def test_a_decompression_bomb_is_rejected_under_any_warning_filter(_action: str) -> None:
    """The reason is the same whether the process ignores Pillow's warnings or raises them."""
    assert _reason(_black_png(12_000, 12_000)) == "too many pixels (144 million, at most 100)"


def test_the_limits_of_the_call_apply() -> None:
    """Limits on bytes and pixels are those passed to `decode`."""
    data = _file(_photo(), "PNG")
    assert _reason(data, Limits(max_bytes=100)) == "file too large (over 0 MiB)"
    assert _reason(data, Limits(max_pixels=3000)).startswith("too many pixels")


def test_16_bit_grey_is_scaled_to_8_bits() -> None:
    """Black stays black, white stays white, and 257 grey levels become one."""
    ramp = np.linspace(0, 65_535, 256 * 4, dtype=np.uint16).reshape(4, 256)
    for kind in ("PNG", "TIFF"):
        found = _pixels(_file(Image.fromarray(ramp), kind))[..., 0].astype(int)
        assert np.abs(found - np.round(ramp / 257)).max() <= 1
        assert (found.min(), found.max()) == (0, 255)


def test_float_and_32_bit_grey_are_scaled_to_8_bits() -> None:
    """TIFFs with floats from 0 to 1, or 16-bit values in 32 bits, fill the whole 8-bit range."""
    floats = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    for values in (floats, (floats * 65_535).astype(np.int32)):
        found = _pixels(_file(Image.fromarray(values), "TIFF"))
        assert (found.min(), found.max()) == (0, 255)
        assert 120 < found.mean() < 135


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    """A rotated photo is decoded upright, and its size is that of the upright image."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    tags = {"tiffinfo": {0x0112: orientation}} if kind == "TIFF" else {"exif": exif.tobytes()}
    data = _file(_photo(), kind, **tags)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert np.array_equal(_pixels(data), np.asarray(expected))
    assert decode(data).width == (64 if orientation < 5 else 48)


def test_an_image_with_damaged_metadata_is_still_decoded() -> None:
    """The pixels are used although the EXIF block is garbage."""
    assert decode(_file(_photo(), "JPEG", exif=b"Exif\0\0garbage" + bytes(20))).width == 64


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_transparent_pixels_become_white(mode: str) -> None:
    """Colours hidden under full transparency do not show, however transparency is stored."""
    options: dict[str, Any] = {}
    if mode in ("RGBA", "LA"):
        image = Image.new(mode, (8, 8), (0,) * len(mode))
    else:
        image = Image.new(mode, (8, 8), 0)
        options["transparency"] = (0, 0, 0) if mode == "RGB" else 0
    assert (_pixels(_file(image, "PNG", **options)) == 255).all()


def test_partial_transparency_is_blended_with_white() -> None:
    """A half-transparent black pixel becomes mid-grey."""
    data = _file(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "PNG")
    assert decode(data).image.getpixel((0, 0)) == (127, 127, 127)


def test_cmyk_jpegs_are_not_inverted() -> None:
    """JPEGs made for print keep their colours."""
    data = _file(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    assert decode(data).image.getpixel((8, 8)) == (255, 0, 0)


def test_an_animation_is_decoded_as_its_first_frame() -> None:
    """Animated GIF, WebP and PNG files give their first frame."""
    later = [Image.new("RGB", (8, 8), "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = _file(Image.new("RGB", (8, 8), "red"), kind, save_all=True, append_images=later)
        red, green, blue = decode(data).image.getpixel((4, 4))  # type: ignore[misc]
        assert red > 240 and green < 16 and blue < 16


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_bytes_give_pixels_or_rejected(kind: str) -> None:
    """Randomly overwritten bytes give an image or raise Rejected, never another exception."""
    random = Random(kind)
    data = _file(_photo(), kind)
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(random.randrange(1, 20)):
            damaged[random.randrange(len(data))] = random.randrange(256)
        try:
            assert decode(bytes(damaged)).image.mode == "RGB"
        except Rejected as rejected:
            assert 0 < len(rejected.reason) < 80


def test_decoding_in_threads_gives_the_same_result() -> None:
    """Decoding good and bad files in many threads gives the same results as in one."""
    files = [_file(_photo(), kind) for kind in FORMATS] + [b"<html>", _black_png(60_000, 1)]

    def outcome(data: bytes) -> bytes | str:
        try:
            return decode(data).image.tobytes()
        except Rejected as rejected:
            return rejected.reason

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome, files * 20)) == [outcome(data) for data in files] * 20


def test_a_thumbnail_has_no_metadata() -> None:
    """A thumbnail is a small JPEG without EXIF, profile or comment, and deterministic."""
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = _photo().resize((640, 480))
    data = _file(photo, "JPEG", exif=exif.tobytes(), icc_profile=profile, comment=b"a secret")
    found = thumbnail(decode(data).pixels)
    image = Image.open(io.BytesIO(found))
    assert (image.format, image.size) == ("JPEG", (256, 192))
    assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert not [word for word in (b"secret", b"Exif", b"ICC_", b"http") if word in found]
    assert found == thumbnail(decode(data).pixels)


def test_thumbnails_keep_the_aspect_ratio() -> None:
    """Small images are not enlarged, and a very thin image stays at least one pixel wide."""
    sizes = {(10, 8): (10, 8), (1000, 10): (256, 3), (10, 2000): (1, 256)}
    for size, expected in sizes.items():
        found = thumbnail(np.zeros((size[1], size[0], 3), np.uint8))
        assert Image.open(io.BytesIO(found)).size == expected


def test_where_we_differ_from_browsers() -> None:
    """XMP's orientation is followed, gAMA is not, and an APNG's default image is what is decoded;
    docs/images.md says so."""
    grey = Image.new("RGB", (40, 20), (128, 128, 128))
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    file = io.BytesIO()
    grey.save(file, "JPEG", xmp=xmp)
    assert decode(file.getvalue()).image.size == (20, 40)
    linear = PngImagePlugin.PngInfo()
    linear.add(b"gAMA", (100_000).to_bytes(4, "big"))
    file = io.BytesIO()
    grey.save(file, "PNG", pnginfo=linear)
    assert decode(file.getvalue()).image.getpixel((0, 0)) == (128, 128, 128)
    frames = [Image.new("RGB", (40, 20), color) for color in ("blue", "green")]
    file = io.BytesIO()
    red = Image.new("RGB", (40, 20), "red")
    red.save(file, "PNG", save_all=True, default_image=True, append_images=frames)
    assert decode(file.getvalue()).image.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_one_transparent_grey_of_a_png_becomes_white(depth: int) -> None:
    """At every depth, and its neighbour stays what it is."""
    most = (1 << depth) - 1
    samples = np.array([[0, 0], [most, most]])[..., None]
    found = _pixels(png(samples, 0, depth, {b"tRNS": struct.pack(">H", 0)}))
    assert (found == 255).all()
    found = _pixels(png(samples, 0, depth, {b"tRNS": struct.pack(">H", most)}))
    assert found[..., 0].tolist() == [[0, 0], [255, 255]]


def test_a_profile_counts_by_its_effect_and_not_by_its_name() -> None:
    """GIMP's `Linear sRGB` makes a middle grey of 128 much lighter; sRGB's own changes nothing."""
    grey = Image.new("RGB", (8, 8), (128, 128, 128))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (_pixels(_file(grey, "PNG", icc_profile=srgb)) == 128).all()
    linear = made_profile(b"RGB ", "Linear sRGB")
    assert (abs(_pixels(_file(grey, "PNG", icc_profile=linear)).astype(int) - 188) <= 1).all()


def test_a_transparent_colour_is_one_of_the_file_and_not_of_the_screen() -> None:
    """The profile changes colours; what is transparent is known before."""
    key = struct.pack(">HHH", 200, 10, 10)
    samples = np.full((4, 4, 3), (200, 10, 10))
    linear = b"x\0\0" + zlib.compress(made_profile(b"RGB ", "Linear sRGB"))
    assert (_pixels(png(samples, 2, 8, {b"iCCP": linear, b"tRNS": key})) == 255).all()


def test_what_the_frame_of_a_gif_does_not_cover_is_white() -> None:
    """Browsers show nothing there; Pillow fills it with a colour of the palette."""
    data = bytearray(_file(Image.new("P", (8, 8), 1), "GIF"))
    struct.pack_into("<HH", data, 6, 32, 24)
    found = _pixels(bytes(data))
    assert found.shape == (24, 32, 3)
    assert (found[8:] == 255).all() and (found[:, 8:] == 255).all()
    assert not (found[:8, :8] == 255).all()


def test_a_pointer_of_git_lfs_says_what_to_do() -> None:
    """A clone without Git LFS has one in the place of each image."""
    with pytest.raises(Rejected, match="run `git lfs pull`"):
        decode(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n")
