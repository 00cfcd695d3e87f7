"""clip_assets: images in a bucket, searchable, with lineage from every hit."""

from importlib import import_module


def __getattr__(name: str) -> object:
    # Dagster looks its component up here; the node, which has no Dagster, must not import it.
    if name == "ImageCollection":
        return import_module("clip_assets.component.image_collection").ImageCollection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return ["ImageCollection"]
