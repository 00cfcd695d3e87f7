"""Measures of a ranking in which some images are known to be right."""

import math
from collections.abc import Sequence


def ndcg(ranked: Sequence[bool], right: int) -> float:
    """Normalized discounted cumulative gain of a ranking's first places, 0 to 1.

    `ranked` says for each place, best first, whether its image is right; `right`, at least 1, is
    the number of right images. Gains are 0 and 1, discounted by log2(place + 1) (Järvelin and
    Kekäläinen 2002); the best possible ranking of this many places has 1.
    """
    best = _discounted([True] * min(right, len(ranked)))
    return _discounted(ranked) / best if best else 0.0


def _discounted(ranked: Sequence[bool]) -> float:
    return sum(1 / math.log2(place + 2) for place, right in enumerate(ranked) if right)
