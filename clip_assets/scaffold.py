"""`clip-assets init`: the YAML of a new collection."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from clip_assets.collection import Collection
from clip_assets.errors import SettingsError
from clip_assets.model import ModelSpec
from clip_assets.settings import PROJECT
from clip_assets.source import source_config


def write_collection(
    collection: str, uri: str, kind: str, model: str, pretrained: str | None
) -> Path:
    """Write `defs/<collection>/defs.yaml`. Raises SettingsError if it exists or is not valid."""
    weights = {}
    if pretrained and not model.startswith(("hf-hub:", "local-dir:")):
        weights = {"pretrained": _absolute(pretrained)}
    try:
        valid = Collection(
            collection=collection,
            source=source_config(kind, _absolute(uri)),
            spec=ModelSpec.model_validate({"name": model, **weights}),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    path = PROJECT / "clip_assets" / "defs" / collection / "defs.yaml"
    if path.exists():
        raise SettingsError(f"{path} exists. Edit it, or choose another name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    attributes = {
        "collection": collection,
        "source": {"type": kind, **valid.require_source().model_dump(exclude_defaults=True)},
        "model": valid.spec.model_dump(exclude_defaults=True),
    }
    document = {"type": "clip_assets.ImageCollection", "attributes": attributes}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def _absolute(name: str) -> str:
    """A file or folder of this machine by its full path: Dagster runs in another folder."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() else name
