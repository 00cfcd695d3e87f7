"""The alert rules and the dashboard use metrics that there are."""

import json
import re
from pathlib import Path

import yaml
from fastapi.testclient import TestClient

from serving.app import create_app
from tests.integration.serving.support import settings

MONITORING = Path(__file__).parents[3] / "monitoring"


def test_every_metric_that_is_watched_exists() -> None:
    """Also with the suffixes of counters and histograms."""
    client = TestClient(create_app(settings("postgresql://127.0.0.1:1/none")))
    client.get("/livez")
    lines = client.get("/metrics").text.splitlines()
    known = {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")}
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    panels = json.loads((MONITORING / "grafana.json").read_text())["panels"]
    expressions = [rule["expr"] for rule in rules]
    expressions += [target["expr"] for panel in panels for target in panel["targets"]]
    used = {name for text in expressions for name in re.findall(r"clip_assets_\w+", text)}
    assert len(used) >= 7
    assert used <= known
    assert all(rule["annotations"]["summary"] for rule in rules)
