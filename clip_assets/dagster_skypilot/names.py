"""Names of managed jobs: `dagster-INSTANCE-NAME-RUN-ATTEMPT`.

The name is the only tag that every cloud, and Slurm, supports. It says which Dagster instance and
run a job belongs to, so that a job can be found again and other people's jobs are never touched.
"""

import hashlib
import os
import re

import dagster as dg

from .dagster_private import run_storage_id
from .failures import SkyPilotError

INSTANCE_VARIABLE = "DAGSTER_SKYPILOT_INSTANCE"
_RUN_AND_ATTEMPT = r"[0-9a-f]{8}-\d+"


def of_instance(instance: dg.DagsterInstance) -> str:
    """Prefix of the names of all jobs of this Dagster instance, and of no other instance.

    It is derived from DAGSTER_SKYPILOT_INSTANCE, or else from the id of Dagster's storage in sqlite
    or Postgres. Raises SkyPilotError if there is neither, as on Dagster+.
    """
    known_as = os.environ.get(INSTANCE_VARIABLE) or run_storage_id(instance)
    if not known_as:
        raise SkyPilotError(
            "SkyPilot jobs are found again by their names, which distinguish Dagster instances. "
            f"This instance has no id: set {INSTANCE_VARIABLE} to a name that no other user of the "
            "SkyPilot API server has, such as my-company-prod, for the code location and its runs.",
            allow_retries=False,
        )
    return f"dagster-{hashlib.sha256(known_as.encode()).hexdigest()[:8]}-"


def of_work(instance: dg.DagsterInstance, name: str) -> str:
    """Prefix of the names of the jobs that did, or do, the same work in any run."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        raise SkyPilotError(
            f"`{name}` cannot name a job: use only letters, digits, `.`, `_` and `-`, and begin "
            "and end with a letter or digit.",
            allow_retries=False,
        )
    return f"{of_instance(instance)}{name}-"


def default(context: dg.OpExecutionContext | dg.AssetExecutionContext) -> str:
    """A name by which only the run and its retries find the job of this step."""
    root = context.run.root_run_id or context.run.run_id
    return f"{context.op_def.name}-{root[:8]}"


def of_job(prefix: str, context: dg.OpExecutionContext | dg.AssetExecutionContext) -> str:
    """The name of a new job: the prefix, the run and the attempt of its step."""
    return f"{prefix}{context.run.run_id[:8]}-{context.retry_number}"


def is_of_work(job_name: str, prefix: str) -> bool:
    """Whether a job does the work with that prefix; false if its name only begins alike."""
    return re.fullmatch(re.escape(prefix) + _RUN_AND_ATTEMPT, job_name) is not None


def run_of(job_name: str) -> str:
    """The first eight characters of the id of the run that launched the job."""
    return job_name.split("-")[-2]
