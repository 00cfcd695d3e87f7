"""Every path below `{data}/{collection}`, in one place."""

import re
from typing import NamedTuple

CATALOG_FOLDER = "catalog"
CATALOG = f"{CATALOG_FOLDER}/head.json"
EMBEDDINGS = "embeddings"
JOBS = "jobs"
IDENTITY = "data_id.json"


_COMMIT, _INCOMPLETE = "commit.json", "commit-incomplete.json"


class ShardVersion(NamedTuple):
    """One version of one shard: the shard's key, its version and the digest of its rows.

    `attempt` counts how often its embeddings were made again because images could not be read.
    """

    shard: str
    version: int
    digest: str
    attempt: int = 0

    @property
    def folder(self) -> str:
        again = f".{self.attempt}" if self.attempt else ""
        return f"v{self.version:05d}-{self.digest[:12]}{again}"


def catalog_shard(at: ShardVersion) -> str:
    return f"{CATALOG_FOLDER}/{at.shard}/{at.folder}.parquet"


def catalog_version(path: str) -> ShardVersion | None:
    """The version whose rows are at this path, with the digest as the path has it."""
    _, *shard, name = path.split("/")
    if not shard or not name.endswith(".parquet"):
        return None
    version, _, digest = name.removesuffix(".parquet").partition("-")
    return ShardVersion(shard[0], int(version[1:]), digest)


def embeddings(slug: str, shard: str = "") -> str:
    """Folder of a model's embeddings, or of one shard's versions inside it."""
    return f"{EMBEDDINGS}/{slug}/{shard}".rstrip("/")


def part(slug: str, at: ShardVersion, number: int) -> str:
    return f"{embeddings(slug, at.shard)}/{at.folder}/part-{number:05d}.parquet"


def rejects(slug: str, at: ShardVersion, name: str = "") -> str:
    return f"{embeddings(slug, at.shard)}/{at.folder}/rejects{f'-{name}' if name else ''}.parquet"


def queries(slug: str, at: ShardVersion) -> str:
    return f"{embeddings(slug, at.shard)}/{at.folder}/queries.parquet"


def picture(commit_path: str, name: str) -> str:
    """Path of a shard's picture for the UI, in its commit's folder, with which it is erased."""
    return f"{commit_path.rpartition('/')[0]}/{name}.jpg"


def verified(slug: str) -> str:
    """Path of the record of when each shard's files were last compared with their commit."""
    return f"{embeddings(slug)}/verified.json"


def commit(slug: str, at: ShardVersion, *, complete: bool = True) -> str:
    """Path of a commit; a commit that lacks unreadable images has another name."""
    name = _COMMIT if complete else _INCOMPLETE
    return f"{embeddings(slug, at.shard)}/{at.folder}/{name}"


def is_commit(path: str) -> bool:
    return path.endswith((f"/{_COMMIT}", f"/{_INCOMPLETE}"))


def is_complete(path: str) -> bool:
    """Whether the commit at this path lacks no unreadable image."""
    return path.endswith(f"/{_COMMIT}")


def age(path: str) -> tuple[int, int]:
    """Version and attempt of the commit at this path; the newest commit has the largest."""
    folder = path.split("/")[-2]
    return int(folder[1:].split("-")[0]), int(folder.partition(".")[2] or 0)


def version(name: str) -> int | None:
    """The version in the name of a folder or catalog file; None if the name has none."""
    found = re.match(r"v(\d+)-", name)
    return int(found[1]) if found else None


def is_of(path: str, at: ShardVersion) -> bool:
    """Whether the commit at this path is of this version of the shard, whatever the attempt."""
    return path.split("/")[-2].partition(".")[0] == at._replace(attempt=0).folder


def job(job_id: str) -> str:
    return f"{JOBS}/{job_id}/job.json"


def progress(job_id: str) -> str:
    return f"{JOBS}/{job_id}/progress.json"


def costs(job_id: str) -> tuple[str, str]:
    """Path of a job's cost, and the path that versions before 0.2 used."""
    return f"{JOBS}/{job_id}/cost.json", f"{JOBS}/{job_id}/bill.json"
