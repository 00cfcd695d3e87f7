"""Loads the model that made a release's vectors, and makes sure that it is the same one."""

from collections.abc import Callable

from clip_assets.model import ModelSpec, require_same_texts
from clip_assets.search.search import Release

from .encoder import Lanes, Model, QueryEncoder
from .settings import ServingSettings

Load = Callable[[ModelSpec, str | None], Model]


def load_model(spec: ModelSpec, device: str | None) -> Model:
    """Import torch here, in the loading thread: it takes seconds, and the page does not need it."""
    from clip_assets.node import encoder

    return encoder.load(spec, *([device] if device else []))


def encoder_of(
    release: Release, load: Load, settings: ServingSettings, lanes: Lanes
) -> QueryEncoder:
    """The model that made the release's vectors, loaded, verified and warmed up.

    Its image decoding may differ, if another version of clip_assets made the release: the old
    release then answers texts until the collection is embedded again. Raises ModelError if it
    cannot be loaded, or is another one.
    """
    model = load(release.spec, settings.device)
    require_same_texts(
        model.identity,
        release.identity,
        f"The loaded model differs from that of release {release.id}",
        ", or release an index of the loaded model",
    )
    encoder = QueryEncoder(model, lanes, settings.text_cache)
    encoder.warm()
    return encoder
