"""What a training batch is made of: drawings of concepts, and things one may say of them.

Imported by train.py.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from augment import augmented
from torch import Tensor
from torch.nn.functional import interpolate

# How often an artist is drawn beside the others: line art carries no colour, icons are few.
LESS_OFTEN = {"emojione-line": 0.3}
TEMPLATES = [
    "a {}", "the {}", "an {}", "a picture of {}", "a picture of a {}", "a drawing of a {}",
    "an emoji of {}", "{} emoji", "{} icon", "image of {}", "a photo of a {}", "some {}",
    "a small {}", "clip art of a {}",
]  # fmt: skip
# How often a text is the name, one keyword, a few keywords; the rest is name and keyword.
UNTIL = np.cumsum((0.5, 0.22, 0.15))
SIDED = ("left", "right", "index", "arrow", "button", "clock", "o'clock", "flag", "map", "globe")


@dataclass
class Collection:
    """Pictures in memory, and what may be said of each concept."""

    pictures: Tensor
    artists: np.ndarray
    concepts: np.ndarray
    codes: list[str]
    phrases: list[list[int]]
    words: list[str]
    true_of: Tensor

    @property
    def captions(self) -> list[str]:
        return [self.words[phrases[0]] for phrases in self.phrases]


def load(path: Path, side: int) -> Collection:
    data = np.load(path)
    names = json.loads(data["phrases"].tobytes())
    codes = [str(code) for code in data["codes"]]
    words = sorted({phrase for code in codes for phrase in names[code]})
    index = {phrase: i for i, phrase in enumerate(words)}
    # A phrase is true of a concept that lists it or whose name holds all its words.
    true_of = torch.zeros(len(words), len(codes), dtype=torch.bool)
    by_word: dict[str, set[int]] = {}
    for i, phrase in enumerate(words):
        for word in phrase.lower().split():
            by_word.setdefault(word, set()).add(i)
    split = [set(phrase.lower().split()) for phrase in words]
    for c, code in enumerate(codes):
        true_of[[index[phrase] for phrase in names[code]], c] = True
        said = set(names[code][0].lower().split())
        near = set().union(*(by_word.get(word, set()) for word in said))
        true_of[[i for i in near if split[i] <= said], c] = True
    return Collection(
        pictures=shrunk(data["pictures"], side),
        artists=data["artists"],
        concepts=data["concepts"],
        codes=codes,
        phrases=[[index[phrase] for phrase in names[code]] for code in codes],
        words=words,
        true_of=true_of,
    )


def shrunk(pictures: np.ndarray, side: int) -> Tensor:
    """Premultiply and resize to a third above the model's side, so that sampling aliases little."""
    target = min(pictures.shape[1], round(side * 4 / 3))
    parts = []
    for start in range(0, len(pictures), 512):
        part = torch.from_numpy(pictures[start : start + 512]).permute(0, 3, 1, 2).float()
        part[:, :3] *= part[:, 3:] / 255
        part = interpolate(part, (target, target), mode="bilinear", antialias=True)
        parts.append(part.round().clamp(0, 255).byte())
    return torch.cat(parts)


class Captions:
    """Says something true of a concept, in tokens; templates wrap a phrase at token level."""

    def __init__(self, collection: Collection, length: int) -> None:
        tokenizer = open_clip.SimpleTokenizer(context_length=length)
        self.length = length
        self.start, self.end = tokenizer.sot_token_id, tokenizer.eot_token_id
        self.tokens = [tokenizer.encode(phrase) for phrase in collection.words]
        halves = [template.split("{}") for template in TEMPLATES]
        self.frames = [(tokenizer.encode(a), tokenizer.encode(b)) for a, b in halves]
        self.phrases = collection.phrases
        spoken = (*self.tokens, *(half for frame in self.frames for half in frame))
        self.used = {self.start, self.end, *(token for tokens in spoken for token in tokens)}

    def say(self, concept: int, rng: np.random.Generator) -> list[int]:
        """Phrase numbers: the name, one keyword, a few keywords, or name and keyword."""
        name, *keywords = self.phrases[concept]
        dice = rng.random()
        if not keywords or dice < UNTIL[0]:
            return [name]
        if dice < UNTIL[1]:
            return [int(rng.choice(keywords))]
        if dice < UNTIL[2]:
            few = min(len(keywords), int(rng.integers(2, 4)))
            return [int(word) for word in rng.choice(keywords, few, replace=False)]
        return [name, int(rng.choice(keywords))]

    def row(self, said: list[int], rng: np.random.Generator | None) -> list[int]:
        body = [token for phrase in said for token in self.tokens[phrase]]
        if rng is not None and rng.random() < 0.5:
            before, after = self.frames[rng.integers(len(self.frames))]
            body = before + body + after
        row = [self.start, *body[: self.length - 2], self.end]
        return row + [0] * (self.length - len(row))


class Drawer:
    """Draws batches: concepts evenly, then one artist's picture and something true to say of it."""

    def __init__(self, collection: Collection, captions: Captions, left_out: str) -> None:
        self.collection, self.captions = collection, captions
        kept = collection.artists != left_out
        everyone = np.arange(len(collection.codes))
        self.pools = [np.flatnonzero((collection.concepts == c) & kept) for c in everyone]
        self.rarity = np.array([LESS_OFTEN.get(str(artist), 1.0) for artist in collection.artists])
        # Variants and plain icons come less often.
        weight = np.array([len(pool) > 0 for pool in self.pools], dtype=float)
        for c, code in enumerate(collection.codes):
            if code.startswith("name:"):
                weight[c] *= 0.2
            elif "-200d-2640" in code or "-200d-2642" in code:
                weight[c] *= 0.4
        self.weight = weight / weight.sum()
        names = collection.captions
        sided = [any(word in name.split() for word in SIDED) for name in names]
        self.flips = 1 - torch.tensor(sided).float()
        flags = torch.tensor([name.startswith("flag of ") for name in names])
        self.waves = torch.where(flags, 0.8, 0.15)
        self.colours = torch.where(flags, 0.5, 1.0)

    def choose(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, Tensor, Tensor]:
        """Concepts, three texts for each (its own first), and what else is true of a concept."""
        drawn = rng.choice(len(self.weight), size, p=self.weight)
        others = rng.choice(len(self.weight), 2 * size, p=self.weight)
        said = [self.captions.say(c, rng) for c in (*drawn, *others)]
        rows = torch.tensor([self.captions.row(phrases, rng) for phrases in said])
        truth = torch.stack([self.collection.true_of[phrases].all(0) for phrases in said])
        also_true = truth[:, drawn].T.contiguous()
        also_true.fill_diagonal_(False)
        return drawn, rows, also_true

    def draw(self, picked: np.ndarray, side: int) -> Tensor:
        """The pictures, augmented as befits what they show."""
        of = self.collection.concepts[picked]
        waving = torch.bernoulli(self.waves[of])
        seen = self.collection.pictures[picked]
        pictures = augmented(seen, side, self.flips[of], waving, self.colours[of])
        return pictures.to(memory_format=torch.channels_last)

    def pick(self, concept: int, rng: np.random.Generator) -> int:
        chance = self.rarity[self.pools[concept]]
        return int(rng.choice(self.pools[concept], p=chance / chance.sum()))
