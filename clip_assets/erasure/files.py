"""Rewrites a shard without some of its images, and finds the files this makes obsolete.

The rules are those of any commit: write the parts under new paths, verify them, and write
`commit.json` last. Until then readers see all of the old version, and afterwards all of the new.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clip_assets.errors import DamageError, StoreError
from clip_assets.store import commit as commits
from clip_assets.store import parquet, paths
from clip_assets.store.commit import Commit, Part
from clip_assets.store.erased import RewrittenFile
from clip_assets.store.objects import Objects
from clip_assets.store.parquet import REJECTS_FOOTER, RejectKind
from clip_assets.store.paths import ShardVersion


def rewrite(
    objects: Objects, slug: str, old: Commit, at: ShardVersion, gone: Collection[str]
) -> Commit:
    """Commit the shard without these images, or return the commit of an earlier run."""
    found = commits.read(objects, slug, at)
    if found:
        return found
    made = [
        _rewritten(objects, part, paths.part(slug, at, number), gone)
        for number, part in enumerate(old.parts)
    ]
    rejects, rejected = _rewritten(objects, old.rejects, paths.rejects(slug, at), gone)
    queries, _ = _rewritten(objects, old.queries, paths.queries(slug, at), gone)
    changes = {
        "version": at.version,
        "catalog_digest": at.digest,
        "parts": tuple(part for part, _ in made),
        "rejects": rejects,
        "queries": queries,
        "rows": sum(part.rows for part, _ in made),
        "rejected": rejects.rows,
        "attempt": at.attempt,
        **_counts(rejected),
        "mean": _mean([table for _, table in made]),
    }
    return commits.write(objects, slug, old.model_copy(update=changes))


def holds(objects: Objects, slug: str, commit: Commit, gone: Collection[str]) -> bool:
    """Whether any file of the commit names one of these images; false if the commit is gone."""
    names = pa.array(sorted(gone), pa.string())
    try:
        for part in (*commit.parts, commit.rejects, commit.queries):
            ids = commits.read_part(objects, part, ["image_id"]).column("image_id")
            if pc.any(pc.is_in(ids, names)).as_py():
                return True
    except DamageError:
        if objects.exists(commits.path_of(slug, commit)):
            raise  # else it was swept meanwhile, the commit first
    return False


def versions(objects: Objects, slug: str, shard: str) -> list[Commit]:
    """Every commit of the shard by this model, newest last."""
    read = []
    for entry in objects.list(paths.embeddings(slug, shard)):
        if paths.is_commit(entry.path):
            with suppress(FileNotFoundError):  # swept meanwhile
                read.append(commits.read_path(objects, entry.path))
    return sorted(
        read, key=lambda commit: (commit.version, commit.attempt, commits.path_of(slug, commit))
    )


def differences(slug: str, old: Commit, new: Commit) -> Iterator[RewrittenFile]:
    """The files of `old` whose content changed, including `commit.json`, compared by digest."""
    by_name = {_name(part): part for part in (*new.parts, new.rejects, new.queries)}
    for was in (*old.parts, old.rejects, old.queries):
        became = by_name.get(_name(was))
        if became and was.sha256 != became.sha256:
            yield RewrittenFile(
                old_path=was.path,
                old_sha256=was.sha256,
                new_path=became.path,
                new_sha256=became.sha256,
            )
    yield RewrittenFile(
        old_path=commits.path_of(slug, old),
        old_sha256=old.digest,
        new_path=commits.path_of(slug, new),
        new_sha256=new.digest,
    )


def obsolete(objects: Objects, slug: str, shard: str, keep: Iterable[ShardVersion]) -> list[str]:
    """Every file of the shard by this model outside the folders of `keep`, commits first.

    This includes parts of jobs that never committed.
    """
    kept = tuple(paths.commit(slug, at).removesuffix("commit.json") for at in keep)
    found = [e.path for e in objects.list(paths.embeddings(slug, shard))]
    gone = [path for path in found if not path.startswith(kept)]
    return sorted(gone, key=lambda path: (not paths.is_commit(path), path))


def beside(old: Commit, gone: Collection[str]) -> ShardVersion:
    """The new version of a commit that was older than the catalog, and stays older."""
    text = "\n".join([old.catalog_digest, *sorted(gone)])
    digest = hashlib.sha256(text.encode()).hexdigest()
    return ShardVersion(old.shard, old.version, digest, old.attempt)


def _counts(rejected: pa.Table) -> dict[str, int]:
    if "kind" not in rejected.column_names:  # written by an older version
        return {}
    kinds = rejected.column("kind").to_pylist()
    return {name: kinds.count(RejectKind(name)) for name in ("unreadable", "erased")}


def _name(part: Part) -> str:
    return part.path.rsplit("/", 1)[-1]


def _rewritten(
    objects: Objects, part: Part, path: str, gone: Collection[str]
) -> tuple[Part, pa.Table]:
    """Write the file to its new path and verify it; unchanged bytes if no row is removed."""
    table = commits.read_part(objects, part)
    kept = _without(table, gone)
    data = objects.get(part.path) if kept.equals(table, check_metadata=True) else None
    data = data or parquet.to_bytes(kept)
    objects.put(path, data)
    if objects.get(path) != data:
        raise StoreError(f"{objects.uri(path)} was not stored as written. Run again.")
    return commits.part_of(path, data, len(kept)), kept


def _without(table: pa.Table, gone: Collection[str]) -> pa.Table:
    names = pa.array(sorted(gone), pa.string())
    kept = table.filter(pc.invert(pc.is_in(table.column("image_id"), names)))
    footer = table.schema.metadata or {}
    if REJECTS_FOOTER not in footer:
        return kept
    rejects = [row for row in json.loads(footer[REJECTS_FOOTER]) if row["image_id"] not in gone]
    return kept.replace_schema_metadata({**footer, REJECTS_FOOTER: json.dumps(rejects).encode()})


def _mean(tables: list[pa.Table]) -> tuple[float, ...]:
    """The mean vector, computed as the node does."""
    sums = [parquet.vectors(table).sum(axis=0, dtype=np.float64) for table in tables]
    mean = np.sum(sums, axis=0) / max(sum(len(table) for table in tables), 1)
    return tuple(round(float(value), 6) for value in mean)
