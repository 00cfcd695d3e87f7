"""Automation: new images -> shards -> embeddings -> search_index -> release.

Automation keeps the live model up to date. The first materialization and a switch of models stay
manual, because they cost money or change what users see.

The first two steps are sensors (`sensors.py`) and not conditions: what is due depends on the source
and on the committed files, which Dagster does not track.
"""

import dagster as dg

from clip_assets.automation.status import sensor_status
from clip_assets.collection import Collection

Condition = dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]


def catalog_condition(collection: Collection) -> Condition:
    """Once a day; the sensor picks up changes in between."""
    return (
        # A sensor tick may fail, or the daemon may be down, and the sensor requests each listing
        # only once. Without a daily run, a collection without new images would look overdue.
        _at(collection.reconcile_cron)
        # The first materialization is manual, so that a user notices a wrong `uri`.
        & ~dg.AutomationCondition.missing()
        # A long listing that is still in progress is not started twice.
        & ~dg.AutomationCondition.in_progress()
    ).with_label("listed once a day")


def report_condition(collection: Collection) -> Condition:
    """After the first backfill, and then once a day; duplicates and drift change slowly."""
    first: Condition = (
        dg.AutomationCondition.missing()
        & dg.AutomationCondition.any_deps_match(~dg.AutomationCondition.missing())
        & ~dg.AutomationCondition.any_deps_in_progress()
    )
    return (
        # `newly_true`: a failed report is retried after the next embeddings, or the next day.
        (first.newly_true() | _at(collection.reconcile_cron))
        & dg.AutomationCondition.any_deps_match(~dg.AutomationCondition.missing())
        & ~dg.AutomationCondition.in_progress()
    ).with_label("reported once a day")


def search_index_condition() -> Condition:
    """After every change of the embeddings; `reconcile` triggers at least one a day."""
    return (
        # One updated shard is enough: each run reconciles all shards. `eager()` would also require
        # that no shard is missing, so one bad shard would block all others permanently.
        dg.AutomationCondition.any_deps_updated().since_last_handled()
        # One index run after a whole backfill, not one after each of its runs: building the HNSW
        # is expensive.
        & ~dg.AutomationCondition.any_deps_in_progress()
        # A second run would wait for the pool and then find nothing to do.
        & ~dg.AutomationCondition.in_progress()
    ).with_label("follows the embeddings")


def release_condition() -> Condition:
    """After every index that passed its checks, once a first release exists."""
    return (
        # If the index is requested on this tick, the release joins the same run.
        dg.AutomationCondition.any_deps_updated().since_last_handled()
        # The first release, and so a switch to a new model, is manual. The asset itself skips a
        # model that was live before and no longer is.
        & ~dg.AutomationCondition.missing()
        # A failed check blocks the release, which stays pending until the check passes. Within
        # one run, Dagster itself stops before the release.
        & dg.AutomationCondition.all_deps_blocking_checks_passed()
        # The index may still be being judged.
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    ).with_label("follows the index")


def check_condition(collection: Collection) -> Condition:
    """Once a day: shards age while nothing runs, so the check needs its own schedule."""
    return _at(collection.reconcile_cron) & ~dg.AutomationCondition.in_progress()


def automation_sensor(
    collection: Collection, *, with_catalog: bool
) -> dg.AutomationConditionSensorDefinition:
    """Evaluates the conditions of this collection and model, and no others.

    Dagster's `default_automation_condition_sensor` covers the whole code location and is stopped
    by default. This sensor exists once per YAML file and obeys its `automate:`.
    """
    keys = [
        collection.embeddings_key,
        collection.report_key,
        collection.search_index_key,
        collection.release_key,
    ]
    selection = dg.AssetSelection.assets(*keys, *([collection.catalog_key] if with_catalog else []))
    return dg.AutomationConditionSensorDefinition(
        name=f"{collection.name_with_model}_automation",
        target=selection | dg.AssetSelection.checks_for_assets(*keys),
        default_status=sensor_status(collection),
        minimum_interval_seconds=collection.follow_every_seconds,
        description="Updates index and release after the embeddings, and the catalog once a day.",
    )


def _at(cron: str) -> Condition:
    """True from the cron tick until a run is requested; a run in progress only delays it."""
    tick: Condition = dg.AutomationCondition.cron_tick_passed(cron)
    return tick.since_last_handled()
