"""A source that takes long to list does not keep a sensor's tick waiting."""

import threading
from collections.abc import Iterator

import pytest

from clip_assets import catalog
from clip_assets.automation.listing import Lister
from clip_assets.errors import SourceError
from clip_assets.source import ImageRef

REF = ImageRef("cat.jpg", "/cat.jpg", "etag")


def test_a_small_source_is_listed_within_the_tick() -> None:
    """Its changes show at the first look, and each look lists anew."""
    found = [REF]
    lister = Lister(lambda: found, patience=60)
    assert lister.digest() == catalog.listing_digest([REF])
    found.append(ImageRef("dog.jpg", "/dog.jpg", "etag"))
    assert lister.digest() == catalog.listing_digest(found)


def test_a_long_listing_goes_on_between_ticks() -> None:
    """Ticks meanwhile say how far it is, and start no second listing; a later one compares."""
    more, begun = threading.Event(), []

    def slow() -> Iterator[ImageRef]:
        begun.append(1)
        yield REF
        more.wait(600)

    lister = Lister(slow, patience=0.01)
    assert lister.digest() is None
    while "1 images so far" not in lister.progress:
        assert lister.digest() is None
    more.set()
    while (digest := lister.digest()) is None:
        pass
    assert digest == catalog.listing_digest([REF])
    assert begun == [1]


def test_an_error_of_the_source_is_the_ticks_error() -> None:
    """It is raised once; the next look tries again."""
    answers = iter([SourceError("The bucket is gone."), None])

    def listing() -> list[ImageRef]:
        if error := next(answers):
            raise error
        return [REF]

    lister = Lister(listing, patience=60)
    with pytest.raises(SourceError, match="The bucket is gone"):
        lister.digest()
    assert lister.digest() == catalog.listing_digest([REF])
