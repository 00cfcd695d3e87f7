"""What happens with no hand: new images -> shards -> embeddings -> search_index -> release.

Two things stay by hand, because they cost money or change what people see: the first time, and a
switch of models. What is automated keeps the live model up to date.

The first two steps are sensors (`sensors.py`) and not conditions: the source and the committed
files say what is due, and Dagster knows neither of them.
"""

import dagster as dg

from clip_assets.collection import Collection

Condition = dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]


def catalog_condition(collection: Collection) -> Condition:
    """Once a day by the clock; what comes between, the sensor sees."""
    return (
        # A sensor's tick may fail or fall into a time without a daemon, and would not come again
        # while the listing stays. It also tells a quiet collection from a forgotten one: without
        # it, nothing new for a day would look overdue.
        _at(collection.reconcile_cron)
        # The first catalog is made by hand: a wrong `uri` is then seen by someone.
        & ~dg.AutomationCondition.missing()
        # A long listing that is still under way is not started twice.
        & ~dg.AutomationCondition.in_progress()
    ).with_label("listed once a day")


def report_condition(collection: Collection) -> Condition:
    """Once a day, when it was made once: what it tells of changes slowly."""
    return (
        _at(collection.reconcile_cron)
        # It compares every pair of images that are near: not asked for, not paid for.
        & ~dg.AutomationCondition.missing()
        & ~dg.AutomationCondition.in_progress()
    ).with_label("reported once a day")


def search_index_condition() -> Condition:
    """After every change of the embeddings; the nightly shard of `reconcile` is one at least."""
    return (
        # One shard is enough: the index reconciles all of them at each run. `eager()` would also
        # ask that none is missing, and one bad shard would hold back all the others for ever.
        dg.AutomationCondition.any_deps_updated().since_last_handled()
        # One index run after a backfill, not one after each of its runs: the graph of neighbours
        # is what costs.
        & ~dg.AutomationCondition.any_deps_in_progress()
        # A second run would wait for the pool and then find nothing to do.
        & ~dg.AutomationCondition.in_progress()
    ).with_label("follows the embeddings")


def release_condition() -> Condition:
    """After every index that passed its checks, once a first release was made by hand."""
    return (
        # The index, in the same run where it is being requested: one process, not two.
        dg.AutomationCondition.any_deps_updated().since_last_handled()
        # A first release, and so a switch to a new model, is somebody's decision. A model that
        # was live before and is not now is left alone by the asset itself.
        & ~dg.AutomationCondition.missing()
        # Nothing is published past a failed check. It stays pending, and goes once the check
        # passes; within one run Dagster itself stops before the release.
        & dg.AutomationCondition.all_deps_blocking_checks_passed()
        # The index may be judged again at this moment.
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    ).with_label("follows the index")


def check_condition() -> Condition:
    """Every hour: an age grows while nothing runs, so no run would ever find it too high."""
    return dg.AutomationCondition.cron_tick_passed("0 * * * *")


def automation_sensor(
    collection: Collection, *, with_catalog: bool
) -> dg.AutomationConditionSensorDefinition:
    """Evaluates the conditions of this collection and model, and no others.

    Dagster's `default_automation_condition_sensor` is one switch for the whole code location and
    starts switched off. This one has a switch for each file of YAML and follows its `automate:`.
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
        description="Index and release follow the embeddings; the catalog is listed once a day.",
    )


def sensor_status(collection: Collection) -> dg.DefaultSensorStatus:
    """On unless the YAML says otherwise: nothing is started before a first release by hand."""
    return dg.DefaultSensorStatus.RUNNING if collection.automate else dg.DefaultSensorStatus.STOPPED


def _at(cron: str) -> Condition:
    """True from the cron's tick until it was answered, so that a run in progress only delays it."""
    tick: Condition = dg.AutomationCondition.cron_tick_passed(cron)
    return tick.since_last_handled()
