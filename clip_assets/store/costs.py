"""The cost of each SkyPilot job, stored beside its job file; `clip-assets status` sums them."""

from pydantic import BaseModel, ConfigDict

from clip_assets.store import paths
from clip_assets.store.objects import Objects


class Cost(BaseModel):
    """`dollars` is the price of the machine times the job's running time, setup included.

    It is None if no price is known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: str
    infra: str
    accelerator: str
    gpu_seconds: float
    dollars: float | None


def write(objects: Objects, job_id: str, cost: Cost) -> None:
    objects.put(paths.costs(job_id)[0], cost.model_dump_json(indent=1).encode())


def read_all(objects: Objects) -> list[Cost]:
    """Costs of all jobs that ever ran for the collection."""
    found = sorted(entry.path for entry in objects.list(paths.JOBS))
    return [
        Cost.model_validate_json(objects.get(path))
        for path in found
        if path in paths.costs(path.split("/")[1])
    ]
