"""Where pictures and names come from: registry packages, their licences, one rasteriser.

Imported by build_collection.py and build_training_set.py; nothing to run.
"""

import io
import json
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import resvg_py
from PIL import Image

EMOJIBASE = "emojibase-data@17.0.0"
EMOJILIB = "emojilib@4.0.3"
NOTO = "@iconify-json/noto@1.2.9"
NOTO_FONT = "@fontsource/noto-color-emoji@5.3.2"


@dataclass(frozen=True)
class Concept:
    """One thing an emoji stands for; `code` is its Unicode sequence without variation selectors."""

    code: str
    label: str
    keywords: tuple[str, ...]
    group: str
    subgroup: str


def fetch(spec: str, cache: Path) -> Path:
    """Unpack one pinned npm package (`name@version`) below the cache, once; return its folder."""
    folder = cache / spec.replace("/", "-").removeprefix("@")
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(
        ["npm", "pack", "--silent", spec],  # noqa: S607 - npm is wherever the machine has it
        cwd=cache,
        check=True,
        capture_output=True,
        text=True,
    )
    archive = cache / packed.stdout.split()[-1]
    partial = folder.with_name(folder.name + ".tmp")
    with tarfile.open(archive) as tar:
        tar.extractall(partial, filter="data")
    (partial / "package").rename(folder)
    partial.rmdir()
    archive.unlink()
    return folder


def bare(code: str) -> str:
    """Sets disagree on variation selectors (fe0f); without them the sequences are the same."""
    return "-".join(part for part in code.lower().replace("_", "-").split("-") if part != "fe0f")


def caption_of(label: str) -> str:
    """The Unicode name as one would type it: `flag: Japan` becomes `flag of Japan`."""
    text = label.replace("\u2019", "'").replace("\u201c", "").replace("\u201d", "")
    text = text.replace(" & ", " and ").replace("flag: ", "flag of ").replace("St. ", "Saint ")
    return text.replace(": ", " with ")


def concepts(cache: Path) -> list[Concept]:
    """Every emoji without skin-tone variants, in Unicode order, with the keywords of two sets."""
    base = fetch(EMOJIBASE, cache)
    meta = json.loads((base / "meta/groups.json").read_text())
    lib = json.loads((fetch(EMOJILIB, cache) / "dist/emoji-en-US.json").read_text())
    more = {"-".join(f"{ord(c):x}" for c in emoji): words for emoji, words in lib.items()}
    more = {bare(code): words for code, words in more.items()}
    found = []
    for entry in json.loads((base / "en/data.json").read_text()):
        if "group" not in entry:
            continue
        code = bare(entry["hexcode"])
        words = [*entry.get("tags", []), *(w.replace("_", " ") for w in more.get(code, []))]
        found.append(
            Concept(
                code=code,
                label=entry["label"],
                keywords=tuple(dict.fromkeys(word for word in words if word.isascii())),
                group=meta["groups"][str(entry["group"])],
                subgroup=meta["subgroups"][str(entry["subgroup"])],
            )
        )
    return found


def iconify_svgs(folder: Path) -> dict[str, str]:
    """Icon name to SVG document, aliases left out."""
    data = json.loads((folder / "icons.json").read_text())
    documents = {}
    for name, icon in data["icons"].items():
        left, top = icon.get("left", 0), icon.get("top", 0)
        width = icon.get("width", data.get("width", 16))
        height = icon.get("height", data.get("height", 16))
        documents[name] = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">'
            f"{icon['body']}</svg>"
        )
    return documents


def rasterise(svg: str, longest: int) -> Image.Image:
    """Render with the longest side at `longest` pixels, transparency kept."""
    width, height = re.search(r'width="([\d.]+)" height="([\d.]+)"', svg).groups()
    zoom = longest / max(float(width), float(height))
    png = resvg_py.svg_to_bytes(svg_string=svg, zoom=zoom, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")
