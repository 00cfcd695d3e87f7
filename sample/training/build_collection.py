"""Draw the sample collection (Noto Emoji) and write it as WebDataset shards.

    pip install -r requirements.txt && python build_collection.py --out ../collection

Needs npm for the pinned packages. The shards' bytes depend on nothing but the versions.
"""

import argparse
import hashlib
import io
import json
import re
import tarfile
import unicodedata
from pathlib import Path

import resvg_py
from fontTools.ttLib import TTFont
from PIL import Image
from sources import (
    NOTO,
    NOTO_FONT,
    Concept,
    bare,
    caption_of,
    concepts,
    fetch,
    iconify_svgs,
    rasterise,
)

SIZE = 224
DRAWN = 200  # the rest is a white margin, so that pictures do not touch in a grid
SHARDS = 8
CATEGORY = {
    "smileys-emotion": "faces",
    "people-body": "people",
    "animals-nature": "nature",
    "food-drink": "food",
    "travel-places": "travel",
    "activities": "activities",
    "objects": "objects",
    "symbols": "signs",
    "flags": "flags",
}
# Letters, arrows and player buttons make a dull grid and are better typed than searched.
DULL = {
    "skin-tone", "hair-style", "family", "arrow", "av-symbol", "gender", "math", "punctuation",
    "currency", "other-symbol", "keycap", "alphanum", "geometric", "subdivision-flag",
}  # fmt: skip
KEEP_FAMILY = {"people holding hands", "kiss", "couple with heart", "family"}
# Territories that fly another country's flag: the same picture under a second name.
SAME_FLAG = {"BV", "SJ", "HM", "UM", "CP", "MF", "EA", "DG"}


def chosen(all_concepts: list[Concept]) -> list[Concept]:
    """Drop what repeats: gendered variants, hair variants, half hours, borrowed flags."""
    labels = {c.label for c in all_concepts}
    kept = []
    for concept in all_concepts:
        label = concept.label
        gendered = re.match(r"(?:wo)?m[ae]n (.+)", label)
        neutral = gendered and {gendered[1], f"person {gendered[1]}", f"people {gendered[1]}"}
        hours = "o\u2019clock" in label or "-thirty" in label
        variant = ": " in label and not label.startswith("flag: ")
        if label in KEEP_FAMILY or not (
            concept.subgroup in DULL
            or (neutral and neutral & labels)
            or hours
            or variant
            or label == "middle finger"
            or country(concept.code) in SAME_FLAG
        ):
            kept.append(concept)
    return kept


def country(code: str) -> str:
    """`1f1ef-1f1f5` is JP: two regional indicators; anything else gives an empty string."""
    points = [int(part, 16) - 0x1F1E6 for part in code.split("-")]
    flag = len(points) == 2 and all(0 <= point < 26 for point in points)
    return "".join(chr(ord("A") + point) for point in points) if flag else ""


def flag_font(cache: Path) -> Path:
    """The font's flag subset as plain TTF.

    Shared outlines carry fill="black", which beats the colour of the <use> that places them and
    paints stripes black; black is the default fill anyway, so the attribute can go.
    """
    path = cache / "noto-flags.ttf"
    source = fetch(NOTO_FONT, cache) / "files/noto-color-emoji-0-400-normal.woff2"
    font = TTFont(source)
    font.flavor = None
    for document in font["SVG "].docList:
        document.data = document.data.replace(' fill="black"', "")
    font.save(path)
    return path


def draw_flag(code: str, font: Path) -> Image.Image:
    text = "".join(chr(int(part, 16)) for part in code.split("-"))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIZE * 2}" height="{SIZE * 2}">'
        f'<text x="{SIZE}" y="{SIZE + 110}" text-anchor="middle" font-size="300" '
        f'font-family="Noto Color Emoji">{text}</text></svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, font_files=[str(font)], skip_system_fonts=True)
    drawn = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    return drawn.crop(drawn.getbbox())


def on_white(drawn: Image.Image) -> Image.Image:
    """Fit into the drawn square, in the middle of a white picture."""
    drawn.thumbnail((DRAWN, DRAWN), Image.Resampling.LANCZOS)
    page = Image.new("RGB", (SIZE, SIZE), "white")
    page.paste(drawn, ((SIZE - drawn.width) // 2, (SIZE - drawn.height) // 2), drawn)
    return page


def slug(caption: str) -> str:
    plain = unicodedata.normalize("NFKD", caption).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def member(concept: Concept, picture: Image.Image) -> tuple[str, dict[str, bytes]]:
    caption = caption_of(concept.label)
    category = CATEGORY[concept.group]
    name = slug(caption.removeprefix("flag of ") if category == "flags" else caption)
    flag = bool(country(concept.code))
    webp = io.BytesIO()
    picture.save(webp, "WEBP", quality=86, method=6)
    about = {
        "caption": caption,
        "keywords": list(concept.keywords),
        "license": "OFL-1.1" if flag else "Apache-2.0",
        "origin": f"Noto Emoji, Google; npm {NOTO_FONT if flag else NOTO}",
        "codepoints": [f"U+{part.upper()}" for part in concept.code.split("-")],
    }
    text = json.dumps(about, ensure_ascii=False, sort_keys=True)
    return f"{category}/{name}", {
        "json": text.encode(),
        "txt": caption.encode(),
        "webp": webp.getvalue(),
    }


def write_shard(path: Path, members: list[tuple[str, dict[str, bytes]]]) -> None:
    partial = path.with_suffix(".tmp")
    with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, files in members:
            for extension, content in files.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("../collection"))
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    args = parser.parse_args()

    noto = fetch(NOTO, args.cache)
    svgs = iconify_svgs(noto)
    names = json.loads((noto / "chars.json").read_text())
    by_code = {bare(code): svgs[name] for code, name in names.items() if name in svgs}
    font = flag_font(args.cache)

    members: dict[str, dict[str, bytes]] = {}
    for concept in chosen(concepts(args.cache)):
        if country(concept.code):
            drawn = draw_flag(concept.code, font)
        elif concept.code in by_code:
            drawn = rasterise(by_code[concept.code], DRAWN)
        else:
            print("not drawn in this set:", concept.label)
            continue
        key, files = member(concept, on_white(drawn))
        if key in members:
            raise ValueError(f"two pictures are called {key}")
        members[key] = files
    pictures = {files["webp"] for files in members.values()}
    print(len(members), "pictures,", len(members) - len(pictures), "of them repeated")

    # Shuffled by hash, so that every shard looks like the whole; sorted within, to be readable.
    shuffled = sorted(members, key=lambda key: hashlib.sha256(key.encode()).digest())
    args.out.mkdir(parents=True, exist_ok=True)
    for shard in range(SHARDS):
        keys = sorted(shuffled[shard::SHARDS])
        path = args.out / f"sample-{shard:06d}.tar"
        write_shard(path, [(key, members[key]) for key in keys])
        print(path.name, len(keys), "pictures", path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
