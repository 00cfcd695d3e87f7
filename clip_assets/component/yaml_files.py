"""Reads which collections and models a project's YAML files define, without loading Dagster."""

from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import ValidationError

from clip_assets.model import ModelSpec
from clip_assets.project import Project


def collections_in_yaml(project: Project) -> list[str]:
    """Names of the collections, without those that are templates."""
    names = {str(one["collection"]) for one in _attributes(project) if "collection" in one}
    return sorted(name for name in names if "{{" not in name)


def models_in_yaml(project: Project | None, collection: str) -> set[str] | None:
    """Slugs of the models that the collection's files name.

    None if there is no project, or a file cannot be understood without Dagster, because its model
    is a template.
    """
    if project is None:
        return None
    slugs = set()
    for attributes in _attributes(project):
        if attributes.get("collection") != collection:
            continue
        model = attributes.get("model")
        if "{{" in str(model):
            return None
        try:
            slugs.add(ModelSpec.model_validate(model).slug)
        except ValidationError:  # `dg check yaml` says what is wrong
            return None
    return slugs


def _attributes(project: Project) -> Iterator[dict[str, Any]]:
    for path in sorted(project.defs_folder.glob("**/defs.yaml")):
        try:
            text = path.read_text().replace("{{ project_root }}", str(project.root))
            documents = [*yaml.safe_load_all(text)]
        except yaml.YAMLError:
            continue
        for document in documents:
            if isinstance(document, dict) and isinstance(document.get("attributes"), dict):
                yield document["attributes"]
