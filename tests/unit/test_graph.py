"""The graph of one collection, as it is defined: a change of it is a change of what people see.

If a difference is meant, write the new one: `python -m tests.unit.test_graph`.
"""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from clip_assets.component.image_collection import ImageCollection
from clip_assets.model import ModelSpec
from clip_assets.source.config import FolderConfig

GOLDEN = Path(__file__).with_name("graph.json")
STEPS = ["catalog", "embeddings", "search_index", "release"]


def test_graph_is_the_known_one() -> None:
    """Assets, their checks, sensors and schedules are those of the golden file."""
    assert _graph() == json.loads(GOLDEN.read_text())


def test_every_asset_is_described_in_full() -> None:
    """Each has owner, kinds, group, description, code version, freshness policy and a check."""
    assets = _graph()["assets"]
    assert {key.split("/")[-1] for key in assets} >= set(STEPS)
    for key, asset in assets.items():
        assert [name for name, value in asset.items() if value in ([], "", None, {})] in (
            [],
            ["automation"],
            ["depends_on"],
        ), key
    assert all(check["description"] for a in assets.values() for check in a["checks"].values())


def _graph() -> dict[str, Any]:
    collection = ImageCollection(
        name="photos",
        source=FolderConfig(uri="s3://bucket/photos"),
        owner="team:search",
        spec=ModelSpec(name="ViT-B-32", pretrained="laion2b_s34b_b79k"),
    )
    built = collection.build_defs(dg.ComponentTree.for_test().load_context)
    graph = built.resolve_asset_graph()
    live = graph.get(dg.AssetKey(["photos", "live"]))
    return {
        "assets": {
            key.to_user_string(): _asset(graph, key)
            for key in sorted(graph.materializable_asset_keys)
        },
        "live": {
            "depends_on": sorted(key.to_user_string() for key in live.parent_keys),
            "description": live.description,
        },
        "jobs": {job.name: job.description for job in built.jobs or []},
        "sensors": {
            sensor.name: [sensor.default_status.value, sensor.minimum_interval_seconds]
            for sensor in built.sensors or []
        },
        "schedules": {
            schedule.name: [schedule.default_status.value, schedule.cron_schedule]
            for schedule in built.schedules or []
        },
    }


def _asset(graph: Any, key: dg.AssetKey) -> dict[str, Any]:
    node = graph.get(key)
    policy, condition = node.freshness_policy, node.automation_condition
    return {
        "depends_on": sorted(parent.to_user_string() for parent in node.parent_keys),
        "group": node.group_name,
        "owners": list(node.owners),
        "kinds": sorted(node.kinds),
        "tags": {key: value for key, value in sorted(node.tags.items()) if "kind" not in key},
        "description": node.description,
        "code_version": node.code_version,
        "partitions": node.partitions_def.name if node.partitions_def else "none",
        "overdue_after_hours": policy.fail_window.to_timedelta().total_seconds() / 3600,
        "automation": condition.get_label() if condition else "",
        "checks": {
            check.name: {"blocking": check.blocking, "description": check.description}
            for check in (graph.get_check_spec(k) for k in sorted(node.check_keys))
        },
    }


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(_graph(), indent=1) + "\n")
