"""Draw the training pictures: other artists' emoji and flags, never the collection's artist.

    pip install -r requirements.txt && python build_training_set.py --out training_set.npz

Needs npm for the pinned packages. Writes pictures (uint8 RGBA), the artist and the concept of each,
and for every concept the phrases one may type for it.
"""

import argparse
import io
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image
from sources import bare, caption_of, concepts, fetch, iconify_svgs, rasterise

SIDE = 128
DRAWN = 124
OPEN_LICENCES = {"MIT", "Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0"}
EMOJI_SETS = {
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "openmoji": "@iconify-json/openmoji@1.2.29",
    "emojione": "@iconify-json/emojione@1.2.3",
    "emojione-v1": "@iconify-json/emojione-v1@1.2.3",
    "emojione-line": "@iconify-json/emojione-monotone@1.2.1",
    "fxemoji": "@iconify-json/fxemoji@1.2.2",
    "fluent": "@iconify-json/fluent-emoji@1.2.7",
    "fluent-flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "streamline": "@iconify-json/streamline-emojis@1.2.4",
}
FLUENT_3D = "@lobehub/fluent-emoji-3d@1.1.0"
FLAG_SETS = {
    "flag": "@iconify-json/flag@1.2.12",
    "circle-flags": "@iconify-json/circle-flags@1.2.11",
    "cif": "@iconify-json/cif@1.2.7",
    "flagpack": "@iconify-json/flagpack@1.2.8",
}
# General icon sets: only what is named like an emoji is taken.
ICON_SETS = {
    "flat-color": "@iconify-json/flat-color-icons@1.2.3",
    "streamline-color": "@iconify-json/streamline-color@1.2.2",
    "streamline-plump": "@iconify-json/streamline-plump-color@1.2.2",
    "streamline-ultimate": "@iconify-json/streamline-ultimate-color@1.2.2",
    "streamline-freehand": "@iconify-json/streamline-freehand-color@1.2.2",
    "streamline-kameleon": "@iconify-json/streamline-kameleon-color@1.2.2",
    "streamline-stickies": "@iconify-json/streamline-stickies-color@1.2.2",
}
TONE = re.compile(r"1f3f[b-f]|skin-tone|-tone[1-5]|-(light|medium|dark|medium-light|medium-dark)$")


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("\u2019", "").replace("'", "")).strip(
        "-"
    )


def squared(drawn: Image.Image) -> np.ndarray:
    """Fit into the drawn square in the middle of a transparent picture."""
    drawn = drawn.convert("RGBA")
    drawn.thumbnail((DRAWN, DRAWN), Image.Resampling.LANCZOS)
    page = Image.new("RGBA", (SIDE, SIDE))
    page.paste(drawn, ((SIDE - drawn.width) // 2, (SIDE - drawn.height) // 2))
    return np.asarray(page)


def licence_of(folder: Path) -> str:
    info = folder / "info.json"
    if info.exists():
        return str(json.loads(info.read_text())["license"]["spdx"])
    return str(json.loads((folder / "package.json").read_text())["license"])


def regional(country: str) -> str:
    return "-".join(f"{0x1F1E6 + ord(letter) - ord('a'):x}" for letter in country)


class Names:
    """What each concept is called, by code and by every name the sets give it."""

    def __init__(self, cache: Path) -> None:
        self.phrases: dict[str, list[str]] = {}
        self.by_name: dict[str, str] = {}
        for concept in concepts(cache):
            caption = caption_of(concept.label)
            self.phrases[concept.code] = list(dict.fromkeys([caption, *concept.keywords]))
            self.by_name.setdefault(slug(concept.label), concept.code)
            self.by_name.setdefault(slug(caption), concept.code)
            for spoken in (slug(caption), slug(concept.label).replace("flag-", "flag-of-")):
                self.by_name.setdefault(spoken.replace("flag-of-", "flag-for-"), concept.code)
        base = fetch("emojibase-data@17.0.0", cache)
        for source in ("cldr", "github", "emojibase", "joypixels"):
            table = json.loads((base / f"en/shortcodes/{source}.json").read_text())
            for code, names in table.items():
                for name in [names] if isinstance(names, str) else names:
                    if bare(code) in self.phrases:
                        self.by_name.setdefault(slug(name), bare(code))
        for spec in (EMOJI_SETS["twemoji"], EMOJI_SETS["openmoji"]):
            self.learn(fetch(spec, cache))

    def learn(self, folder: Path) -> None:
        """Sets that state codepoints teach us older names, through their aliases too."""
        codes = json.loads((folder / "chars.json").read_text())
        code_of = {name: bare(code) for code, name in codes.items()}
        aliases = json.loads((folder / "icons.json").read_text()).get("aliases", {})
        for alias, target in aliases.items():
            if target["parent"] in code_of:
                code_of.setdefault(alias, code_of[target["parent"]])
        for name, code in code_of.items():
            if code in self.phrases:
                self.by_name.setdefault(slug(name), code)


def emoji_pictures(folder: Path, names: Names, extras: bool) -> dict[str, str]:
    """Concept code to SVG; `extras`: an icon that is no emoji becomes a concept of its own."""
    found: dict[str, str] = {}
    chars = folder / "chars.json"
    codes = json.loads(chars.read_text()) if chars.exists() else {}
    code_of = {name: bare(code) for code, name in codes.items()}
    glued = {name.replace("-", ""): code for name, code in names.by_name.items()}
    for name, svg in iconify_svgs(folder).items():
        plain = re.sub(r"-\d+$", "", slug(name)).replace("flag-for-flag-", "flag-for-")
        code = code_of.get(name) or names.by_name.get(plain) or glued.get(plain.replace("-", ""))
        if code not in names.phrases:
            code = names.by_name.get(plain)
        if TONE.search(name) or (code and TONE.search(code)):
            continue
        if code is None:
            if not extras:
                continue
            code = f"name:{plain}"
            names.phrases.setdefault(code, [plain.replace("-", " ")])
        found.setdefault(code, svg)
    return found


def flag_pictures(folder: Path, names: Names) -> list[tuple[str, str]]:
    found = []
    for name, svg in iconify_svgs(folder).items():
        country = name.removesuffix("-4x3").removesuffix("-1x1")
        if re.fullmatch("[a-z]{2}", country) and regional(country) in names.phrases:
            found.append((regional(country), svg))
    return found


def icon_pictures(folder: Path, names: Names) -> list[tuple[str, str]]:
    found = []
    for name, svg in iconify_svgs(folder).items():
        plain = re.sub(r"-(flat|duo)$", "", slug(name))
        plain = re.sub(r"-\d+$", "", plain)
        if plain in names.by_name:
            found.append((names.by_name[plain], svg))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("training_set.npz"))
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    args = parser.parse_args()

    names = Names(args.cache)
    drawings: dict[str, list[tuple[str, str | Path]]] = defaultdict(list)
    for artist, spec in (EMOJI_SETS | FLAG_SETS | ICON_SETS).items():
        folder = fetch(spec, args.cache)
        licence = licence_of(folder)
        if licence not in OPEN_LICENCES:
            raise ValueError(f"{spec} is under {licence}")
        if artist in EMOJI_SETS:
            drawings[artist] = list(emoji_pictures(folder, names, artist == "openmoji").items())
        elif artist in FLAG_SETS:
            drawings[artist] = flag_pictures(folder, names)
        else:
            drawings[artist] = icon_pictures(folder, names)
        print(f"{artist:20} {licence:13} {len(drawings[artist]):5} pictures  {spec}", flush=True)
    for path in sorted((fetch(FLUENT_3D, args.cache) / "assets").glob("*.webp")):
        # Microsoft draws no country flags; the package fills the gap with the collection's own.
        name = names.phrases.get(bare(path.stem), ["flag of nowhere"])[0]
        if not name.startswith("flag of "):
            drawings["fluent-3d"].append((bare(path.stem), path))
    print(f"{'fluent-3d':20} {'MIT':13} {len(drawings['fluent-3d']):5} pictures  {FLUENT_3D}")

    pictures, artists, codes = [], [], []
    for artist, items in drawings.items():
        for code, drawing in items:
            try:
                svg = isinstance(drawing, str)
                image = rasterise(drawing, DRAWN) if svg else Image.open(drawing)
            except ValueError as broken:
                print("skipped", artist, code, broken)
                continue
            pictures.append(squared(image))
            artists.append(artist)
            codes.append(code)
        print("drawn", artist, flush=True)

    used = sorted(set(codes))
    phrases = {code: names.phrases[code] for code in used}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        pictures=np.stack(pictures),
        artists=np.array(artists),
        concepts=np.searchsorted(used, codes).astype(np.int32),
        codes=np.array(used),
        phrases=np.frombuffer(json.dumps(phrases).encode(), np.uint8),
    )
    partial = args.out.with_suffix(".tmp")
    partial.write_bytes(buffer.getvalue())
    partial.replace(args.out)
    print(len(pictures), "pictures of", len(used), "concepts")


if __name__ == "__main__":
    main()
