"""Files that are not, or only partly, what their names say; by kind."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from random import Random

from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF")


def photo(kind: str, side: int = 24, seed: int = 0) -> bytes:
    """A small photo of noise in one of the formats."""
    noise = Random(seed).randbytes(side * side * 3)
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), noise).save(file, kind)
    return file.getvalue()


def png(width: int, height: int, *, rows: int | None = None, end: bool = True) -> bytes:
    """A black 1-bit PNG of this size, with `rows` of its rows (all by default)."""
    body = zlib.compress(bytes((1 + (width + 7) // 8) * (height if rows is None else rows)), 9)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", body)]
    made = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in [*chunks, *([(b"IEND", b"")] if end else [])]
    )
    return b"\x89PNG\r\n\x1a\n" + made


def files() -> Iterator[tuple[str, bytes]]:
    """Name and content of one file of each kind."""
    yield from _no_images()
    for kind in FORMATS:
        whole = photo(kind)
        yield f"header-of-{kind}", whole[:16]
        yield f"half-of-{kind}", whole[: len(whole) // 2]
        yield f"zeros-in-{kind}", whole[:32] + bytes(len(whole) - 32)
        yield f"noise-in-{kind}", whole[:40] + Random(kind).randbytes(len(whole) - 40)
    yield from _lying_headers()


def _no_images() -> Iterator[tuple[str, bytes]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.png", photo("PNG"))
    yield "empty", b""
    yield "one-zero", b"\0"
    yield "a-megabyte-of-zeros", bytes(1 << 20)
    yield "text", b"not an image\n" * 100
    yield "page", b"<!doctype html><title>404</title>"
    yield "drawing", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
    yield "entities", b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>'
    yield "archive", archive.getvalue()
    yield "gzip", gzip.compress(photo("PNG"))
    yield "pdf", b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n%%EOF"
    yield "program", b"\x7fELF" + bytes(200)
    yield "postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (w) file\n"
    yield "fits", b"SIMPLE  =                    T".ljust(2880)
    yield "icon", b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\xff\xff\xff\x7f\x16\0\0\0"
    yield "pickle", b"\x80\x04cos\nsystem\n(S'true'\ntR."


def _lying_headers() -> Iterator[tuple[str, bytes]]:
    gif, bmp, tiff = (bytearray(photo(kind)) for kind in ("GIF", "BMP", "TIFF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    bmp[18:26] = struct.pack("<ii", 1 << 20, 1 << 20)
    tiff[4:8] = struct.pack("<I", 4)  # the list of tags points to itself
    jpeg = bytearray(photo("JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65535, 65535)
    yield "gif-of-4-gigapixels", bytes(gif)
    yield "bmp-of-a-terapixel", bytes(bmp)
    yield "tiff-in-a-loop", bytes(tiff)
    yield "jpeg-of-4-gigapixels", bytes(jpeg)
    yield "png-of-110-megapixels", png(11_000, 10_000)
    yield "png-of-4-gigapixels", png(65_535, 65_535, rows=1)
    yield "png-without-width", png(0, 10)
    yield "png-of-one-column", png(1, 5_000)
    yield "png-of-one-row-of-many", png(500, 500, rows=1)
    broken = bytearray(photo("PNG"))
    broken[-20] ^= 255
    yield "png-with-a-wrong-checksum", bytes(broken)
    webp = bytearray(photo("WEBP"))
    webp[4:8] = struct.pack("<I", 1 << 30)
    yield "webp-of-a-gigabyte", bytes(webp)
