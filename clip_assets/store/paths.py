"""Every path below `{data}/{collection}`, in one place."""

from typing import NamedTuple

CATALOG = "catalog/head.json"
EMBEDDINGS = "embeddings"
JOBS = "jobs"
IDENTITY = "data_id.json"


class ShardVersion(NamedTuple):
    """One version of one shard: the shard's key, its version and the digest of its rows."""

    shard: str
    version: int
    digest: str

    @property
    def folder(self) -> str:
        return f"v{self.version:05d}-{self.digest[:12]}"


def catalog_shard(at: ShardVersion) -> str:
    return f"catalog/{at.shard}/{at.folder}.parquet"


def embeddings(slug: str, shard: str = "") -> str:
    """Folder of a model's embeddings, or of one shard's versions inside it."""
    return f"{EMBEDDINGS}/{slug}/{shard}".rstrip("/")


def part(slug: str, at: ShardVersion, number: int) -> str:
    return f"{embeddings(slug, at.shard)}/{at.folder}/part-{number:05d}.parquet"


def rejects(slug: str, at: ShardVersion) -> str:
    return f"{embeddings(slug, at.shard)}/{at.folder}/rejects.parquet"


def queries(slug: str, at: ShardVersion) -> str:
    return f"{embeddings(slug, at.shard)}/{at.folder}/queries.parquet"


def commit(slug: str, at: ShardVersion) -> str:
    return f"{embeddings(slug, at.shard)}/{at.folder}/commit.json"


def job(job_id: str) -> str:
    return f"{JOBS}/{job_id}/job.json"


def progress(job_id: str) -> str:
    return f"{JOBS}/{job_id}/progress.json"


def messages(job_id: str) -> str:
    return f"{JOBS}/{job_id}/messages"


def message(job_id: str, number: int) -> str:
    return f"{messages(job_id)}/{number:08d}.json"


def costs(job_id: str) -> tuple[str, str]:
    """Path of a job's cost, and the path that versions before 0.2 used."""
    return f"{JOBS}/{job_id}/cost.json", f"{JOBS}/{job_id}/bill.json"
