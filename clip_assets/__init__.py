"""clip_assets: makes collections of images searchable, with the lineage of every hit."""

from importlib import import_module


def __getattr__(name: str) -> object:
    # Dagster looks up its component here. The node runs without Dagster, so import it only then.
    if name == "ImageCollection":
        return import_module("clip_assets.component.image_collection").ImageCollection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return ["ImageCollection"]
