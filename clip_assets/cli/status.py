"""`clip-assets status`: progress, cost and freshness of each collection."""

from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from clip_assets import project
from clip_assets.component.yaml_files import collections_in_yaml, models_in_yaml
from clip_assets.postgres.connect import connect_reader_if_migrated
from clip_assets.project import Project
from clip_assets.settings import Settings
from clip_assets.status import collection_status, collections, left_behind
from clip_assets.store import costs
from clip_assets.store.objects import Objects

_COLOURS = {"fresh": "green", "warning": "yellow", "overdue": "red", "unknown": "dim"}


def print_status(settings: Settings, out: Console, *, dagster: bool) -> None:
    """`dagster`: whether to show freshness, which only a Dagster instance knows."""
    progress, faults, skipped = _progress(settings)
    out.print(progress if progress.row_count else _next_step(project.find()))
    for line in faults:
        out.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
    for line in skipped:
        out.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)
    # Without a collection, Dagster has nothing to tell and would take a second to import.
    tables = [_spent(settings), *([_freshness()] if dagster and progress.row_count else [])]
    for table in tables:
        if table.row_count:
            out.print(table)


def _next_step(found: Project | None) -> str:
    """What to do if there is no catalog yet."""
    if found is None:
        return f"No collections yet, and this folder is in no Dagster project. {project.REMEDY}"
    if found.root_module == project.CHECKOUT_MODULE:
        return "No collections yet. Try `clip-assets demo`."
    named = collections_in_yaml(found)
    if named:
        return f"No images are listed yet. Run `clip-assets backfill {named[0]}`."
    return "No collections yet. Run `clip-assets init photos ~/Pictures`."


def progress_of_all(settings: Settings) -> list[dict[str, Any]]:
    """What `status` shows for each collection and its models, for JSON."""
    with connect_reader_if_migrated(settings) or nullcontext() as connection:
        return [
            {
                "collection": name,
                "images": found.catalog.images,
                "skipped": found.catalog.skipped,
                "columns": found.catalog.told.sentences,
                "shards": len(found.catalog.shards),
                "current": found.current,
                "release": found.release.id if found.release else None,
                "models": [asdict(model) for model in found.models],
                "left_behind": left_behind(
                    found.release, name, models_in_yaml(project.find(), name) or ()
                ),
            }
            for name in collections(settings)
            if (found := collection_status(connection, _objects(settings, name), name))
        ]


def _objects(settings: Settings, collection: str) -> Objects:
    return Objects(settings.collection_uri(collection))


def _progress(settings: Settings) -> tuple[Table, list[str], list[str]]:
    """The table; a line for each damaged index and each model that nothing keeps up to date; and
    lines for what was skipped, rejected or not joined."""
    faults: list[str] = []
    skipped: list[str] = []
    table = Table("collection", "images", "shards", "model", "embedded", "indexed", "release")
    with connect_reader_if_migrated(settings) or nullcontext() as connection:
        for name in collections(settings):
            found = collection_status(connection, _objects(settings, name), name)
            if found is None:
                continue
            if found.catalog.skipped:
                counts = [f"{count} {kind}" for kind, count in found.catalog.skipped.items()]
                skipped.append(f"{name}: skipped {', '.join(counts)}")
            skipped += [f"{name}: {fault}" for fault in found.catalog.told.faults]
            listed = (name, str(found.catalog.images), str(len(found.catalog.shards)))
            for model in found.models:
                if model.rejected:
                    where = f'`clip-assets sql "FROM rejects" --collection {name}` names them'
                    skipped.append(f"{name}: {model.slug} rejects {model.rejected}; {where}")
                shards = len(found.catalog.shards)
                which = f" --model {model.slug}" if len(found.models) > 1 else ""
                if model.damage:
                    remedy = f"run `clip-assets backfill {name}{which}`"
                    faults.append(f"{name} is damaged: {model.damage}; {remedy}")
                if model.unreadable:
                    faults.append(
                        f"{name}: {model.unreadable} images could not be read; `clip-assets "
                        f"backfill {name}{which}` tries again, and the table `rejects` says why"
                    )
                live = found.release if model.live else None
                table.add_row(
                    *listed, model.slug, f"{model.embedded}/{shards}", f"{model.indexed}/{shards}",
                    f"{live.id}, {live.published_at:%Y-%m-%d %H:%M}" if live else "-",
                )  # fmt: skip
            if not found.models:
                table.add_row(*listed, *"----")
            behind = left_behind(found.release, name, models_in_yaml(project.find(), name) or ())
            faults += [behind] if behind else []
    return table, faults, skipped


def _spent(settings: Settings) -> Table:
    table = Table("collection", "SkyPilot jobs", "GPU-hours", "dollars")
    for name in collections(settings):
        paid = costs.read_all(_objects(settings, name))
        if not paid:
            continue
        hours = sum(cost.gpu_seconds for cost in paid) / 3600
        dollars = sum(cost.dollars or 0.0 for cost in paid)
        unknown = sum(cost.dollars is None for cost in paid)
        more = f" and {unknown} jobs without a price" if unknown else ""
        table.add_row(name, str(len(paid)), f"{hours:.2f}", f"{dollars:.2f}{more}")
    return table


def _freshness() -> Table:
    import dagster as dg

    from clip_assets.cli.freshness import freshness

    table = Table(Column("asset", overflow="fold"), "freshness", "")
    for one in freshness(dg.DagsterInstance.get()):
        table.add_row(one.name, f"[{_COLOURS[one.state]}]{one.state}[/]", one.note)
    return table
