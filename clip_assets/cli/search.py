"""Search from the command line: encode with the release's model, then query the index."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clip_assets.errors import SettingsError
from clip_assets.home import expanded
from clip_assets.model import require_same, require_same_texts
from clip_assets.postgres.connect import connect_reader
from clip_assets.search import search
from clip_assets.search.filters import Filter
from clip_assets.search.search import Hits, Release
from clip_assets.settings import Settings
from clip_assets.store.local_files import read_file


def search_live(  # noqa: PLR0913, PLR0917 - those of `clip-assets search`
    settings: Settings,
    collection: str | None,
    text: str,
    image: Path | None,
    k: int,
    only: Filter | None = None,
) -> tuple[Release, Hits]:
    """The live release, and its k images nearest to the text or image that match the filter.

    Raises SettingsError unless exactly one of text and image is given, ModelError if the
    release's model cannot be loaded unchanged, ReleaseError if nothing is live, and the errors of
    `connect_reader` and `search.search`.
    """
    if bool(text) == (image is not None):
        raise SettingsError("Give either a text or an image file with --image.")
    with connect_reader(settings) as connection:
        release = search.live(connection, collection)
        return release, search.search(connection, release, _vector(release, text, image), k, only)


def _vector(release: Release, text: str, image: Path | None) -> NDArray[np.float32]:
    from clip_assets.node import encoder as encoders
    from clip_assets.node.decode import PIPELINE, Rejected, decode

    encoder = encoders.load(release.spec)
    require = require_same_texts if image is None else require_same
    require(
        encoder.identity,
        release.identity,
        f"The loaded model differs from that of release {release.id}",
        ", or release an index of the loaded model",
    )
    if image is None:
        return encoder.encode_text([text]).reshape(-1)
    try:
        data = read_file(expanded(image), PIPELINE.max_bytes)
        found = decode(data, enough=encoder.enough)
        return encoder.encode_images([found.image]).reshape(-1)
    except (OSError, Rejected) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SettingsError(f"{image} cannot be used as a query: {reason}.") from error
