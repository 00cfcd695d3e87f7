"""The cluster itself: SkyPilot sees it and knows what it costs."""

import sky

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


def best(resources: dict[str, object]) -> sky.Resources:
    """What the optimizer takes for a task with these resources."""
    with sky.Dag() as dag:
        task = sky.Task.from_yaml_config({"run": "true", "resources": dict(resources)})
    sky.Optimizer.optimize(dag, quiet=True)
    assert task.best_resources
    return task.best_resources
