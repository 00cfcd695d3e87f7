"""A shard unlike those before it is called so; chance and small shards are not."""

import numpy as np

from clip_assets.quality.drift import Drift, drifts

DIM = 64


def _shards(sizes: list[int], drifting: int | None = None) -> list[Drift]:
    """Shards of unit vectors round one centre; the drifting one has another centre."""
    noise = np.random.default_rng(2)
    means = []
    for number, size in enumerate(sizes):
        centre = np.zeros(DIM)
        centre[1 if number == drifting else 0] = 4.0
        vectors = centre + noise.normal(size=(max(size, 1), DIM))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        means.append(vectors.mean(axis=0))
    names = [f"{number:05d}" for number in range(len(sizes))]
    return drifts(names, sizes, np.asarray(means))


def test_a_planted_shard() -> None:
    """The shard from elsewhere is found, and those after it are not held against it."""
    found = _shards([500] * 10, drifting=6)
    assert [shard.shard for shard in found if shard.drifted] == ["00006"]


def test_chance() -> None:
    """Shards of one source, large and small, are none of them called drifted."""
    found = _shards([500, 20, 500, 3, 500, 100, 7, 500])
    assert not any(shard.drifted for shard in found)
    assert all(shard.distance < 2 * shard.expected for shard in found[1:])


def test_the_first_shards() -> None:
    """What is usual is not known before some shards: the second cannot have drifted."""
    found = _shards([500, 500], drifting=1)
    assert found[0].distance == 0
    assert found[1].distance > 0.5
    assert not found[1].drifted


def test_an_empty_shard() -> None:
    """A shard whose images were all rejected has no mean and is left out."""
    assert [shard.shard for shard in _shards([500, 0, 500])] == ["00000", "00002"]
