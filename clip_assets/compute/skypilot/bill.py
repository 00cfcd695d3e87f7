"""What each managed job cost, kept beside its job file; `clip-assets status` adds them up."""

from pydantic import BaseModel

from clip_assets.compute import Machine
from clip_assets.store import paths
from clip_assets.store.objects import Objects


class Bill(BaseModel):
    """`dollars` is SkyPilot's price for the machine times the job's running time, set-up
    included; None where nobody names a price."""

    sky_job: str
    infra: str
    accelerator: str
    gpu_seconds: float
    dollars: float | None


def write(objects: Objects, job_id: str, machine: Machine, seconds: float) -> Bill:
    price = machine.dollars_per_hour
    bill = Bill(
        sky_job=machine.job,
        infra=machine.infra,
        accelerator=machine.accelerator,
        gpu_seconds=round(seconds * machine.gpus, 1),
        dollars=None if price is None else round(price * seconds / 3600, 6),
    )
    objects.put(paths.bill(job_id), bill.model_dump_json(indent=1).encode())
    return bill


def bills(objects: Objects) -> list[Bill]:
    """Of all jobs that ever ran for the collection."""
    found = sorted(e.path for e in objects.list("jobs") if e.path.endswith("/bill.json"))
    return [Bill.model_validate_json(objects.get(path)) for path in found]
