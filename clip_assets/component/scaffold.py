"""The YAML of a new collection: for `clip-assets init`, and for `dg scaffold defs`."""

from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from pydantic import BaseModel, Field, ValidationError

from clip_assets.collection import YAML_NAMES, Collection
from clip_assets.errors import SettingsError
from clip_assets.home import expanded
from clip_assets.model import ModelSpec
from clip_assets.project import CHECKOUT_MODULE, Project
from clip_assets.source import source_config
from clip_assets.source.deadline import SECONDS, Deadline
from clip_assets.source.inspect_dataset import inspect_dataset


class ScaffoldParams(BaseModel):
    """Options of `dg scaffold defs clip_assets.ImageCollection NAME`."""

    uri: str | None = Field(
        None,
        description="folder, s3://, gs:// or az:// prefix, or hub id; default: images/NAME",
    )
    kind: str = Field("folder", description="folder, webdataset or huggingface")
    model: str = Field("ViT-B-32", description="open_clip model")
    pretrained: str | None = Field("laion2b_s34b_b79k", description="tag or weights file")
    owner: str | None = Field(None, description="its owner: team:NAME or an e-mail address")


class ImageCollectionScaffolder(dg.Scaffolder[ScaffoldParams]):
    """Writes a collection that loads without edits, named after its folder."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        return ScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParams]) -> None:
        name, wanted = request.target_path.name, request.params
        uri = wanted.uri or f"{{{{ project_root }}}}/images/{name}"
        attributes = collection_attributes(name, uri, wanted.kind, wanted.model, wanted.pretrained)
        if wanted.owner:
            attributes["owner"] = wanted.owner
        dg.scaffold_component(request, attributes)


def write_collection(  # noqa: PLR0913, PLR0917 - those of `clip-assets init`, and where to
    project: Project, collection: str, uri: str, kind: str, model: str, pretrained: str | None
) -> tuple[Path, list[str]]:
    """Write `defs/<collection>/defs.yaml`; returns its path, and lines on what the source contains.

    Raises SettingsError if the file exists or is not valid, and SourceError like `inspect_dataset`.
    """
    if project.root_module == CHECKOUT_MODULE:
        raise SettingsError(
            f"{project.root} is the checkout of clip_assets, whose only collection is the demo's. "
            "Create a project for yours: clip-assets new FOLDER."
        )
    _require_folder(kind, uri)
    attributes = collection_attributes(collection, uri, kind, model, pretrained)
    path = project.defs_folder / collection / "defs.yaml"
    if path.exists():
        raise SettingsError(f"{path} already exists. Edit it, or choose another name.")
    lines: list[str] = []
    if kind == "huggingface":
        found = inspect_dataset(_absolute(uri))
        attributes["source"], lines = found.source, found.lines
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"type": "clip_assets.ImageCollection", "attributes": attributes}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path, lines


def collection_attributes(
    collection: str, uri: str, kind: str, model: str, pretrained: str | None
) -> dict[str, Any]:
    """The `attributes:` of a collection. Raises SettingsError if they are not valid."""
    weights = {}
    if pretrained and not model.startswith(("hf-hub:", "local-dir:")):
        weights = {"pretrained": _absolute(pretrained)}
    try:
        valid = Collection(
            name=collection,
            source=source_config(kind, _absolute(uri)),
            spec=ModelSpec.model_validate({"name": model, **weights}),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(YAML_NAMES.get(str(part), str(part)) for part in first["loc"])
        raise SettingsError(f"{where}: {first['msg']}") from error
    return {
        "collection": collection,
        "source": {"type": kind, **valid.require_source().model_dump(exclude_defaults=True)},
        "model": valid.spec.model_dump(exclude_defaults=True),
    }


def _require_folder(kind: str, uri: str) -> None:
    if kind != "folder" or "://" in uri:
        return
    if not Deadline(SECONDS).call(expanded(uri).is_dir, uri):
        raise SettingsError(f"{uri} is not a folder on this machine. Check the path.")


def _absolute(name: str) -> str:
    """Absolute path of a local file or folder, because Dagster runs in another folder."""
    path = expanded(name)
    return str(path.resolve()) if path.exists() else name
