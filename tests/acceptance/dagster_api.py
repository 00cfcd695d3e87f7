"""Dagster's GraphQL API as its UI uses it: one call for each click."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from tests import web

_OPERATIONS = {
    found.group(1): found.group(0)
    for found in re.finditer(
        r"^(?:query|mutation) (\w+).*?^}$",
        Path(__file__).with_name("operations.graphql").read_text(),
        re.MULTILINE | re.DOTALL,
    )
}
_FINISHED = {"SUCCESS", "FAILURE", "CANCELED"}
_POLL_SECONDS = 0.5
# What never comes fails after this; however busy the machine, nothing that does come takes longer.
_PATIENCE_SECONDS = 900


@dataclass(frozen=True)
class FinishedRun:
    """How a run ended, and everything that Dagster shows about its failures."""

    run_id: str
    status: str
    failures: str


@dataclass(frozen=True)
class Materialization:
    """One event; metadata by label, as plain Python values."""

    run_id: str
    partition: str | None
    metadata: Mapping[str, Any]


class NotAnsweredError(Exception):
    """Dagster answered with an error instead of data, as it does until its code is loaded."""


class Dagster:
    """One running `dg dev` with one code location."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, operation: str, **variables: Any) -> Any:
        """The one field that the operation asks for. Raises NotAnsweredError."""
        body = {"query": _OPERATIONS[operation], "variables": variables}
        try:
            response = web.post(f"{self.url}/graphql", json=body)
            answer = response.raise_for_status().json()
        except httpx.HTTPStatusError as error:
            raise NotAnsweredError(error.response.text) from error
        except httpx.HTTPError as error:
            raise NotAnsweredError(str(error)) from error
        if "errors" in answer:
            raise NotAnsweredError(str(answer["errors"]))
        (field,) = answer["data"].values()
        return field

    @cached_property
    def location(self) -> dict[str, str]:
        """Names of the repository and the location, as selectors want them."""
        (node,) = self.ask("Location")["nodes"]
        return {
            "repositoryName": node["name"],
            "repositoryLocationName": node["location"]["name"],
        }

    def is_healthy(self) -> bool:
        """Whether code is loaded and every daemon is alive; False while it still answers 500."""
        try:
            loaded = self.ask("Location").get("nodes")
            daemons = self.ask("Daemons")["daemonHealth"]["allDaemonStatuses"]
        except NotAnsweredError:
            return False
        return bool(loaded) and all(one["healthy"] for one in daemons if one["required"])

    def launch(
        self,
        *assets: Sequence[str],
        partition: str | None = None,
        until: str | None = None,
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Materialize the assets in one run, of one partition or a range; returns the run's id."""
        given = dict(tags)
        if partition and until:
            given["dagster/asset_partition_range_start"] = partition
            given["dagster/asset_partition_range_end"] = until
        elif partition:
            given["dagster/partition"] = partition
        selector = {
            **self.location,
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": list(key)} for key in assets],
        }
        params = {
            "selector": selector,
            "executionMetadata": {
                "tags": [{"key": key, "value": value} for key, value in given.items()]
            },
        }
        answer = self.ask("LaunchRun", params=params)
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def materialize(
        self, *assets: Sequence[str], partition: str | None = None, until: str | None = None
    ) -> FinishedRun:
        return self.finish(self.launch(*assets, partition=partition, until=until))

    def reexecute(self, run_id: str) -> FinishedRun:
        """What `Re-execute all` in the UI does, to the end."""
        params = {"parentRunId": run_id, "strategy": "ALL_STEPS"}
        answer = self.ask("Reexecute", params=params)
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return self.finish(answer["run"]["runId"])

    def finish(self, run_id: str) -> FinishedRun:
        self.wait(lambda: self.status(run_id) in _FINISHED, f"run {run_id} to finish")
        run = self.ask("Run", id=run_id)
        texts = [
            text
            for event in run["eventConnection"]["events"]
            if event["__typename"] in ("ExecutionStepFailureEvent", "RunFailureEvent")
            for text in _texts(event)
        ]
        return FinishedRun(run_id, run["status"], "\n".join(texts))

    def terminate(self, run_id: str) -> None:
        """What `Terminate` in the UI does."""
        answer = self.ask("Terminate", id=run_id)
        assert answer["__typename"] == "TerminateRunSuccess", answer

    def runs_of(self, tag: str, value: str) -> list[str]:
        """Ids of the runs that bear the tag, newest first."""
        found = self.ask("RunsByTag", filter={"tags": [{"key": tag, "value": value}]})
        return [run["runId"] for run in found["results"]]

    def status(self, run_id: str) -> str:
        return str(self.ask("RunStatus", id=run_id)["status"])

    def tags(self, run_id: str) -> dict[str, str]:
        return {tag["key"]: tag["value"] for tag in self.ask("RunStatus", id=run_id)["tags"]}

    def backfill(self, asset: Sequence[str], partitions: Sequence[str]) -> str:
        """Launch a backfill of these partitions; returns its id."""
        params = {
            "assetSelection": [{"path": list(asset)}],
            "partitionNames": list(partitions),
            "tags": [],
        }
        answer = self.ask("LaunchBackfill", params=params)
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return str(answer["backfillId"])

    def retry_failed(self, backfill_id: str) -> str:
        """What `Retry failed` on a backfill's page does; returns the new backfill's id."""
        params = {"parentRunId": backfill_id, "strategy": "FROM_FAILURE"}
        answer = self.ask("RetryBackfill", params=params)
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return str(answer["backfillId"])

    def finish_backfill(self, backfill_id: str) -> dict[str, Any]:
        """The backfill, once the daemon has finished it."""
        found: dict[str, Any] = {}

        def closed() -> bool:
            found.update(self.ask("Backfill", id=backfill_id))
            return str(found["status"]).startswith("COMPLETED")

        self.wait(closed, f"backfill {backfill_id} to be closed")
        return found

    def materializations(
        self, asset: Sequence[str], partitions: Sequence[str] | None = None
    ) -> list[Materialization]:
        """The events, newest first."""
        node = self.ask("Materializations", key={"path": list(asset)}, partitions=partitions)
        return [
            Materialization(event["runId"], event["partition"], _metadata(event))
            for event in node["assetMaterializations"]
        ]

    def partitions(self, asset: Sequence[str]) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("Partitions", key={"path": list(asset)})
        return answer

    def checks(self, asset: Sequence[str]) -> dict[str, tuple[bool, str | None, str | None]]:
        """By name: whether it blocks, how it ended for the newest materialization, in which run."""
        found = self.ask("Checks", key={"path": list(asset)})["assetChecksOrError"]["checks"]
        return {
            check["name"]: (
                check["blocking"],
                (check["executionForLatestMaterialization"] or {}).get("status"),
                (check["executionForLatestMaterialization"] or {}).get("runId"),
            )
            for check in found
        }

    def dry_run_sensor(self, name: str) -> dict[str, Any]:
        """What the sensor would do now."""
        answer = self.ask("DryRunSensor", sensor={**self.location, "sensorName": name})
        assert answer["__typename"] == "DryRunInstigationTick", answer
        result: dict[str, Any] = answer["evaluationResult"]
        assert not result["error"], result["error"]
        return result

    def freshness(self) -> dict[tuple[str, ...], str | None]:
        """The state that the UI shows of every asset with a policy."""
        return {
            tuple(node["assetKey"]["path"]): node["freshnessStatusInfo"]["freshnessStatus"]
            for node in self.ask("Freshness")
            if node["freshnessStatusInfo"]
        }

    def wait(self, met: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + _PATIENCE_SECONDS
        while not met():
            assert time.monotonic() < until, f"waited {_PATIENCE_SECONDS} s for {what}"
            time.sleep(_POLL_SECONDS)


def _texts(event: Mapping[str, Any]) -> list[str]:
    error, failure = event.get("error") or {}, event.get("failureMetadata") or {}
    return [text for text in (error.get("message"), failure.get("description")) if text]


def _metadata(event: Mapping[str, Any]) -> dict[str, Any]:
    plain = ("text", "intValue", "floatValue", "boolValue", "path", "url", "mdStr", "schema")
    return {
        entry["label"]: next((entry[name] for name in plain if name in entry), None)
        for entry in event["metadataEntries"]
    }
