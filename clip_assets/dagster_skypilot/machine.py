"""The machine that a job runs on, and its price by SkyPilot's price list."""

import logging
import re
from dataclasses import dataclass

from . import jobs
from .jobs import JobState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Machine:
    """The machine that SkyPilot provides for a job; `dollars_per_hour` is None if unknown."""

    job: str
    url: str
    infra: str
    accelerator: str
    gpus: float
    dollars_per_hour: float | None

    def dollars(self, seconds: float) -> float | None:
        """The cost of `seconds`, to a millionth of a dollar; None if no price is known."""
        if self.dollars_per_hour is None:
            return None
        return round(self.dollars_per_hour * seconds / 3600, 6)


def machine_of(job: JobState) -> Machine | None:
    """The machine the job runs or ran on; None while it has none, or if it is not known.

    After the job has ended, SkyPilot knows only the infrastructure and the request; if several
    accelerators were requested, it is unknown which one the job had.
    """
    if job.machine in ("", "-") or job.infra in ("", "-"):
        return None
    accelerators = job.record.accelerators or _asked_for(job.machine)
    if len(accelerators) > 1:
        return None
    name, count = next(iter(accelerators.items()), ("", 0))
    return Machine(
        job=str(job.id),
        url=jobs.dashboard(job.id),
        infra=job.infra,
        accelerator=str(name),
        gpus=float(count),
        dollars_per_hour=_dollars_per_hour(job),
    )


def _asked_for(described: str) -> dict[str, float]:
    """The accelerators in `1x[L4:1]` or `1x(gpus=L4:1, cpus=4, disk=256)`."""
    found = re.findall(r"([A-Za-z][\w-]*):([\d.]+)", described)
    return {name: float(count) for name, count in found if name != "CPU"}


def _dollars_per_hour(job: JobState) -> float | None:
    """None if SkyPilot has no price for the machine, for example on your own Kubernetes."""
    from sky import Resources

    record = job.record
    described = record.cluster_resources_full or ""
    try:
        found = Resources(
            infra="/".join(part for part in (record.cloud, record.region, record.zone) if part),
            instance_type=_instance_type(described) or _slurm_type(job, described),
            accelerators=record.accelerators,
            use_spot="[spot]" in described.lower(),
        )
        return round(float(found.get_cost(3600)), 4)
    except Exception as error:
        log.warning("no price for %s: %s", described, error)
        return None


def _instance_type(described: str) -> str | None:
    """The word without `=` in `1x[Spot](gpus=T4:1, cpus=4, mem=16, g4dn.xlarge, disk=64)`."""
    return next((word for word in _words(described) if "=" not in word), None)


def _slurm_type(job: JobState, described: str) -> str:
    """Slurm has no instance types; SkyPilot builds a name from the requested resources."""
    from sky.provision.slurm.utils import SlurmInstanceType

    asked = dict(word.split("=", 1) for word in _words(described) if "=" in word)
    name, count = next(iter((job.record.accelerators or {}).items()), (None, None))
    gpus = None if count is None else int(count)
    return str(SlurmInstanceType(float(asked["cpus"]), float(asked["mem"]), gpus, name).name)


def _words(described: str) -> list[str]:
    inside = re.search(r"\((.*)\)", described)
    return inside.group(1).split(", ") if inside else []
