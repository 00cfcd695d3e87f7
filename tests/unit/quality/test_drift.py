"""A shard unlike the earlier ones is reported as drifted; chance and small shards are not."""

import numpy as np

from clip_assets.quality.drift import Drift, drifts

DIM = 64


def _shards(sizes: list[int], drifting: int | None = None) -> list[Drift]:
    """Shards of unit vectors around one centre; the drifting shard has another centre."""
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


def test_a_shard_from_another_source_has_drifted() -> None:
    """Only the different shard is reported; later shards are not compared with it."""
    found = _shards([500] * 10, drifting=6)
    assert [shard.shard for shard in found if shard.drifted] == ["00006"]


def test_random_variation_is_not_drift() -> None:
    """Shards of one source are not reported, whether large or small."""
    found = _shards([500, 20, 500, 3, 500, 100, 7, 500])
    assert not any(shard.drifted for shard in found)
    assert all(shard.distance < 2 * shard.expected for shard in found[1:])


def test_the_second_shard_cannot_have_drifted() -> None:
    """Drift is reported only once enough earlier shards show what is usual."""
    found = _shards([500, 500], drifting=1)
    assert found[0].distance == 0
    assert found[1].distance > 0.5
    assert not found[1].drifted


def test_an_empty_shard_is_skipped() -> None:
    """A shard whose images were all rejected has no mean vector."""
    assert [shard.shard for shard in _shards([500, 0, 500])] == ["00000", "00002"]
