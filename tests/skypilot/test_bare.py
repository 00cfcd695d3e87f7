"""The cluster itself: SkyPilot sees it, knows what it costs, and runs on it."""

import sky
from sky import jobs

from tests.skypilot import command_line

ANY_PARTITION = {"infra": "slurm/cluster", "cpus": 1, "memory": 1}


def test_slurm_is_enabled() -> None:
    """`sky check slurm` reaches the login node and enables the cluster."""
    assert "Slurm: enabled" in command_line.sky("check", "slurm")


def test_the_cheaper_partition_is_chosen() -> None:
    """Of two partitions that would both do, the optimizer takes the one that costs less."""
    assert best(ANY_PARTITION).zone == "spot"
    prices = [
        best({**ANY_PARTITION, "infra": f"slurm/cluster/{partition}"}).get_cost(3600)
        for partition in ("spot", "normal")
    ]
    assert best(ANY_PARTITION).get_cost(3600) == min(prices) < max(prices)


def test_a_managed_job_succeeds() -> None:
    """A job of nothing but `true` ends well, on the partition the optimizer chose."""
    task = sky.Task.from_yaml_config({"name": "bare", "run": "true", "resources": ANY_PARTITION})
    job_ids, _ = sky.get(jobs.launch(task))
    sky.get(jobs.wait(job_id=job_ids[0]))
    records, *_ = sky.get(
        jobs.queue_v2(refresh=False, job_ids=job_ids, fields=["job_id", "status", "zone"])
    )
    assert records[0]["status"] == jobs.ManagedJobStatus.SUCCEEDED
    assert records[0]["zone"] == "spot"


def best(resources: dict[str, object]) -> sky.Resources:
    """What the optimizer takes for a task with these resources."""
    with sky.Dag() as dag:
        task = sky.Task.from_yaml_config({"run": "true", "resources": dict(resources)})
    sky.Optimizer.optimize(dag, quiet=True)
    assert task.best_resources
    return task.best_resources
