"""When each shard's files were last read and compared with their commit.

One small file per model, which is rewritten as a whole. Two simultaneous writers may lose an entry;
then a shard is verified earlier than necessary.
"""

import json
from collections.abc import Iterable, Mapping

from clip_assets.store import paths
from clip_assets.store.objects import Objects


def read(objects: Objects, slug: str) -> dict[str, float]:
    """Times in seconds since the epoch, by path of the commit; only of verified commits."""
    try:
        found: dict[str, float] = json.loads(objects.get(paths.verified(slug)))
    except FileNotFoundError:
        return {}
    return found


def record(
    objects: Objects, slug: str, sound: Iterable[str], now: float, newest: Mapping[str, str]
) -> dict[str, float]:
    """Record that these commits were verified at `now`; returns the updated entries.

    Entries of commits that are not the newest of their shard are dropped.
    """
    known = read(objects, slug) | dict.fromkeys(sound, round(now))
    current = {path: known[path] for path in newest.values() if path in known}
    objects.put(paths.verified(slug), json.dumps(current, indent=0).encode())
    return current
