"""`clip-assets verify`: whether source, catalog, files, index and release agree."""

from contextlib import nullcontext
from dataclasses import asdict
from secrets import randbelow
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from clip_assets import catalog
from clip_assets.errors import SettingsError
from clip_assets.postgres.connect import connect_owner, connect_verifier
from clip_assets.settings import Settings
from clip_assets.snapshot.progress import bars
from clip_assets.status import collections, live_release
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects
from clip_assets.verify.finding import Finding, together
from clip_assets.verify.repair import repair
from clip_assets.verify.verify import Sample, sound_commits, verify


def sample_of(count: int, seed: int | None) -> Sample:
    """A new seed if none is given."""
    return Sample(count, randbelow(1 << 32) if seed is None else seed)


def named_or_all(settings: Settings, collection: str | None) -> list[str]:
    """Raises SettingsError if there is none."""
    names = [collection] if collection else collections(settings)
    if not names:
        raise SettingsError(f"{settings.data_uri} has no collections. Try `clip-assets demo`.")
    return names


def verify_collection(
    settings: Settings, collection: str, sample: Sample, err: Console, *, mend: bool
) -> Finding:
    """Verify one collection; `mend` repairs what can be repaired, then verifies again."""
    objects = Objects(settings.collection_uri(collection))
    found = _verified(settings, objects, collection, sample, err)
    if not (mend and found.faults):
        return found
    with connect_verifier(settings) or nullcontext() as used:
        in_database = used is not None
    with connect_owner(settings) if in_database else nullcontext() as connection:
        head = catalog.require(objects, collection)
        repair(connection, objects, head, found.faults, lambda line: err.print(line, style="dim"))
    return _verified(settings, objects, collection, sample, err)


def _verified(
    settings: Settings, objects: Objects, collection: str, sample: Sample, err: Console
) -> Finding:
    head = catalog.require(objects, collection)
    with bars(err) as step:
        with connect_verifier(settings) or nullcontext() as connection:
            found = verify(objects, head, connection, step)
            live = live_release(connection, collection) if connection else None
        slugs = commits.slugs(objects)
        slug = live.spec.slug if live and live.spec.slug in slugs else next(iter(slugs), None)
        if slug and sample.count:
            from clip_assets.verify.sample import verify_sample  # imports torch

            done = iter(range(1, sample.count + 1))
            sound = sound_commits(objects, head, slug, found.faults)
            again = verify_sample(
                objects, head, sound, sample, lambda: step("sample", next(done), sample.count)
            )
            found = together([found, again])
    return found


def as_json(collection: str, sample: Sample, found: Finding) -> dict[str, Any]:
    """What `print_finding` prints."""
    return {
        "collection": collection,
        "sound": not found.faults,
        "seed": sample.seed,
        "figures": found.figures,
        "behind": found.behind,
        "faults": [asdict(fault) for fault in found.faults],
    }


def print_finding(collection: str, sample: Sample, found: Finding, out: Console) -> None:
    """Figures, then what is behind, then each fault, then the verdict."""
    table = Table(collection, Column(justify="right"))
    for name, figure in found.figures.items():
        table.add_row(name, f"{figure:,}")
    table.add_row("seed of the sample", str(sample.seed))
    out.print(table)
    for line in found.behind:
        out.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    for fault in found.faults:
        out.print(str(fault), style="red", markup=False, highlight=False, soft_wrap=True)
    faults = len(found.faults)
    verdict = f"{faults} fault{'s' if faults > 1 else ''}" if faults else "sound"
    out.print(f"{collection}: {verdict}", markup=False)
