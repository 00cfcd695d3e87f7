"""The kind of a file: by its name or, if that does not tell, by its first bytes."""

from collections.abc import Collection
from typing import Literal

HEAD = 32
"""How many bytes `image_format` looks at."""

EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif", ".avifs"),
    "HEIF": (".heic", ".heif", ".heics", ".heifs", ".hif"),
    "JXL": (".jxl",),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".j2c", ".jpf"),
}
"""The usual extensions of each format that the decoder reads, by Pillow's name for it."""

IMAGES = frozenset(extension for names in EXTENSIONS.values() for extension in names)

TABLES = "tables (declare `columns` or `captions` to use them)"

_OTHERS = {
    TABLES: "csv tsv jsonl ndjson parquet",
    "text files": "txt md rst json html htm xml yaml yml log pdf doc docx ini cfg "
    "toml py ipynb js css sh srt url lnk tex cls",
    "arrays and databases": "arrow feather npy npz pt pth pkl h5 hdf5 db sqlite xls xlsx "
    "tfrecord idx mat safetensors bin",
    "archives": "tar zip gz tgz bz2 xz zst lz4 7z rar",
    "videos": "mp4 mov m4v avi mkv webm mpg mpeg wmv 3gp mts",
    "sound files": "mp3 wav flac ogg m4a aac",
    "camera raw files": "dng cr2 cr3 nef arw orf rw2 raf srw pef 3fr nrw",
    "drawings": "svg psd ai eps xcf indd",
    "sidecar files": "xmp aae thm pp3 dop",
}
_BY_EXTENSION = {f".{name}": kind for kind, names in _OTHERS.items() for name in names.split()}
_SYSTEM_FOLDERS = {
    "@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found",
}  # fmt: skip
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\xff\x0a": "JXL",
    b"\0\0\0\x0cJXL ": "JXL",
    b"\0\0\0\x0cjP  ": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
}
_HEIF = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}


POINTER = "a Git LFS pointer instead of the file; run `git lfs pull` in the clone it comes from"
POINTER_BYTES = 1024
"""A pointer is shorter, according to Git LFS's specification."""


def is_pointer(data: bytes) -> bool:
    """Whether these bytes are a Git LFS pointer instead of the file's content."""
    return len(data) < POINTER_BYTES and data.startswith(b"version https://git-lfs.github.com/")


def hidden(name: str) -> bool:
    """Whether a file or folder of this name belongs to a system and not to its user."""
    return name.startswith(".") or name in _SYSTEM_FOLDERS or name.lower() in _SYSTEM_FILES


def extension(path: str) -> str:
    """The lower-case extension with its dot; empty if the name has none."""
    stem, dot, name = path.rpartition("/")[2].rpartition(".")
    return dot + name.lower() if stem else ""


def of_name(
    path: str, images: Collection[str] = IMAGES, *, others: bool = True
) -> Literal["image", "unknown"] | str:
    """`image`, `unknown`, or the kind of a file that is no image, in words.

    With `others` false, whatever has none of the extensions `images` is no image.
    """
    found = extension(path)
    if found in images:
        return "image"
    if not others:
        return "files with other extensions"
    return _BY_EXTENSION.get(found, "unknown")


def image_format(head: bytes) -> str:
    """Pillow's name of the image format that begins with these bytes; empty if none does."""
    if head[:4] == b"RIFF":
        return "WEBP" if head[8:12] in (b"WEBP", b"") else ""
    if head[:2] == b"BM":
        return "BMP" if head[6:10] == bytes(4) else ""
    if head[4:8] == b"ftyp":
        brands = {head[at : at + 4] for at in range(8, len(head), 4)}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIF" if brands & _HEIF else ""
    return next((name for start, name in _SIGNATURES.items() if head.startswith(start)), "")
